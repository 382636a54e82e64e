"""The whole store: every port on one PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from flux.domain.errors import FluxError
from flux.domain.schema import Phase
from flux.engine.ports import (
    Changes,
    Duties,
    Jobs,
    Leases,
    Queries,
    Queues,
    Schedules,
    StoreHealth,
    Transactions,
    Workflows,
)
from flux.stores.migrations import known_migrations
from flux.stores.postgres import migrating, partitions
from flux.stores.postgres.changes import PostgresChanges
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database, Place
from flux.stores.postgres.duties import PostgresDuties
from flux.stores.postgres.jobs import PostgresJobs
from flux.stores.postgres.leases import PostgresLeases
from flux.stores.postgres.queues import PostgresQueues
from flux.stores.postgres.reading import PostgresQueries
from flux.stores.postgres.schedules import PostgresSchedules
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statement
from flux.stores.postgres.transactions import PostgresTransactions
from flux.stores.postgres.workflows import PostgresWorkflows

PROBE = 1.5
"""Seconds that a look at the health waits: less than whoever asks (a probe of two seconds, say) does."""

_SETTINGS = Statement(
    "settings",
    """SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
              current_setting('full_page_writes') AS full_page_writes, pg_is_in_recovery() AS standby,
              current_setting('synchronous_standby_names') <> ''
              AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS replicated,
              current_setting('transaction_read_only') AS read_only,
              pg_database_size(current_database()) AS size,
              EXISTS (SELECT 1 FROM flux.done_default LIMIT 1) AS strays""",
)


class PostgresStore:
    """One database is the whole queue; any number of processes on any number of hosts may open it.

    It belongs to the event loop that opens it. Connections: at most 3 for claims, outcomes and enqueues, 4 for
    everything else, one that listens, and one for the heartbeat's thread; each is opened when it is first needed.
    """

    def __init__(
        self,
        place: Place,
        *,
        namespace: str = "default",
        migrate: bool = True,
        clock: Callable[[], int] | None = None,
        random: Random | None = None,
        hinted: bool = False,
    ) -> None:
        """``migrate`` brings the schema up at ``open``, as far as older processes can bear it; without it an old one is
        refused there.

        ``clock`` stands for the server's clock (microseconds), for tests that steer time. ``hinted``: a broker that
        carries hints wakes the workers.
        """
        self._database = Database(place, namespace=namespace, clock=clock, random=random)
        self._migrate = migrate
        self._changes = PostgresChanges(self._database, hinted=hinted)
        self.jobs: Jobs = PostgresJobs(self._database, random)
        self.duties: Duties = PostgresDuties(self._database)
        self.schedules: Schedules = PostgresSchedules(self._database)
        self.queues: Queues = PostgresQueues(self._database)
        self.queries: Queries = PostgresQueries(self._database)
        self.leases: Leases = PostgresLeases(self._database)
        self.changes: Changes = self._changes
        self._transactions = PostgresTransactions(self._database)
        self.transactions: Transactions = self._transactions
        self.workflows: Workflows = PostgresWorkflows(self._database)
        self.parallel = True

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See the port. Refuses a server that may lose what it has acknowledged, unless that was allowed."""
        self._database.open()
        try:
            if self._migrate:
                await self.migrate(phase=Phase.PRE)
            await self._database.calm(migrating.check)
            await self._refuse_lossy()
        except BaseException:
            await self._database.close()
            raise
        self._changes.reopen()
        self._changes.open()

    async def _refuse_lossy(self) -> None:
        [settings] = await self._database.statement(_SETTINGS)
        if settings["synchronous_commit"] == "off" and not self._database.place.lossy:
            raise FluxError(
                "synchronous_commit is off for this database: an accepted job could be lost in a crash. Turn it on, or "
                "set FLUX_ALLOW_LOSSY_COMMIT=1 when that may happen."
            )

    async def close(self) -> None:
        """See the port."""
        await self._changes.close()
        await self._transactions.close()
        await self._database.close()

    async def now(self) -> int:
        """See the port."""
        steered = self._database.now()
        if steered is not None:
            return steered
        return await self._database.calm(lambda session: clock(session, self._database))

    async def health(self) -> StoreHealth:
        """See the port."""
        place = self._database.shown[0].upper() + self._database.shown[1:]
        try:
            async with asyncio.timeout(PROBE):
                [settings] = await self._database.statement(_SETTINGS)
        except TimeoutError:
            return StoreHealth(ok=False, detail=f"{place} has not answered for {PROBE:g} s.", durable=False)
        except FluxError as error:
            return StoreHealth(ok=False, detail=str(error), durable=False)
        except Exception as error:
            return StoreHealth(ok=False, detail=f"{place} answers with an error: {error}.", durable=False)
        durable = settings["synchronous_commit"] != "off" and settings["fsync"] == "on"
        # Whether it is there now needs no look: while it is away no commit is answered.
        replicated, size = settings["replicated"], settings["size"]
        if settings["standby"] or settings["read_only"] == "on":
            return StoreHealth(
                ok=False, detail=f"{place} takes no writes (a standby).", durable=durable, size=size
            )
        standby = "a synchronous standby" if replicated else "no synchronous standby"
        detail = f"{place} takes writes (synchronous_commit={settings['synchronous_commit']}, {standby})."
        if not durable:
            detail = f"{place} takes writes and may lose them in a crash (fsync={settings['fsync']})."
        if settings["strays"]:
            detail += " Ended jobs are in flux.done_default: partitions were not made in time."
        return StoreHealth(ok=True, detail=detail, durable=durable, replicated=replicated, size=size)

    def lease_connection(self) -> Leases:
        """See the port. It connects in the loop that first uses it."""
        return PostgresLeases(self._database.another(), own=True)

    # --- schema -----------------------------------------------------------------------------------------------

    async def migrate(self, target: int | None = None, phase: Phase | None = None) -> list[str]:
        """See the port. Needs an open store, or opens it for as long as this takes."""

        async def work(session: Session) -> list[str]:
            ran = await migrating.migrate(session, target, phase)
            if ran and await migrating.applied(session):
                await partitions.make_ahead(session, await clock(session, self._database))
            return ran

        opened = self._database.open()
        try:
            return await self._database.patiently(work)
        finally:
            if opened:
                await self._database.close()

    async def schema(self) -> list[tuple[str, bool]]:
        """See the port."""
        opened = self._database.open()
        try:
            have = await self._database.calm(migrating.applied)
        finally:
            if opened:
                await self._database.close()
        known = known_migrations(migrating.PACKAGE)
        names = {migration.number: migration.name for migration in known} | have
        return [(names[number], number in have) for number in sorted(names)]
