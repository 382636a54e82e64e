"""The whole store: every port on one SQLite file."""

from __future__ import annotations

import os
import shutil
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
from flux.stores.sqlite import migrating
from flux.stores.sqlite.changes import SqliteChanges
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.duties import SqliteDuties
from flux.stores.sqlite.hub import Hub
from flux.stores.sqlite.jobs import SqliteJobs
from flux.stores.sqlite.leases import SqliteLeases
from flux.stores.sqlite.queues import SqliteQueues
from flux.stores.sqlite.reading import SqliteQueries
from flux.stores.sqlite.schedules import SqliteSchedules
from flux.stores.sqlite.transactions import NoTransactions
from flux.stores.sqlite.workflows import SqliteWorkflows

PROBE = 1.5
"""Seconds that a look at the health waits: less than whoever asks (a probe of two seconds, say) does."""

LEAST_ROOM = 1 << 20
"""Bytes that must be free for the store to count as well: a write that is small may find room where others do not."""


class SqliteStore:
    """One file is the whole queue; every process of one host may open it."""

    def __init__(
        self,
        path: str,
        *,
        namespace: str = "default",
        migrate: bool = True,
        clock: Callable[[], int] | None = None,
        inline: bool = False,
        random: Random | None = None,
        hub: Hub | None = None,
    ) -> None:
        """``migrate`` brings the schema up at ``open``, as far as older processes can bear it; without it an old one is
        refused there.

        ``inline`` runs everything in the calling task, for simulation; ``hub`` then joins stores on the same file.
        """
        self._database = Database(
            path, namespace=namespace, clock=clock, inline=inline, jitter=random, hub=hub
        )
        self._migrate = migrate
        self._changes = SqliteChanges(self._database)
        self.jobs: Jobs = SqliteJobs(self._database, random)
        self.duties: Duties = SqliteDuties(self._database)
        self.schedules: Schedules = SqliteSchedules(self._database)
        self.queues: Queues = SqliteQueues(self._database)
        self.queries: Queries = SqliteQueries(self._database)
        self.leases: Leases = SqliteLeases(self._database)
        self.changes: Changes = self._changes
        self.transactions: Transactions = NoTransactions()
        self.workflows: Workflows = SqliteWorkflows(self._database)
        self.parallel = False

    async def open(self) -> None:
        """See the port."""
        await self._database.open()
        try:
            if self._migrate:
                await self.migrate(phase=Phase.PRE)
            await self._database.read(migrating.check)
        except BaseException:
            await self._database.close()
            raise
        self._database.schema_seen()

    async def close(self) -> None:
        """See the port."""
        await self._changes.close()
        await self._database.close()

    async def now(self) -> int:
        """See the port."""
        return self._database.now()

    async def health(self) -> StoreHealth:
        """See the port."""
        durable = not self._database.in_memory
        try:
            await self._database.probe(PROBE)
            room = self._room()
            if room is not None and room < LEAST_ROOM:
                detail = f"The database {self._database.path} cannot grow: the disk is full ({room >> 10} kB are free)."
                return StoreHealth(ok=False, detail=detail, durable=durable, size=self._size())
            detail = f"The database {self._database.path} takes writes."
            return StoreHealth(ok=True, detail=detail, durable=durable, size=self._size())
        except FluxError as error:
            return StoreHealth(ok=False, detail=str(error), durable=durable, size=self._size())
        except TimeoutError:
            detail = f"The database {self._database.path} has not taken a write for {PROBE:g} s."
            return StoreHealth(ok=False, detail=detail, durable=durable, size=self._size())
        except Exception as error:
            detail = f"The database {self._database.path} answers with an error: {error}."
            return StoreHealth(ok=False, detail=detail, durable=durable, size=self._size())

    def _room(self) -> int | None:
        """The bytes that are free where the file is; None where nobody knows."""
        if self._database.in_memory:
            return None
        try:
            usage = shutil.disk_usage(os.path.dirname(self._database.path) or ".")
        except OSError:
            return None
        return usage.free if usage.total else None

    def _size(self) -> int | None:
        """The bytes of the file and of its log."""
        if self._database.in_memory:
            return None
        total = 0
        for suffix in ("", "-wal"):
            try:
                total += os.stat(self._database.path + suffix).st_size
            except OSError:
                if not suffix:
                    return None
        return total

    def lease_connection(self) -> Leases:
        """See the port. It runs in the heartbeat's own thread, without another one behind it."""
        if self._database.in_memory:
            return SqliteLeases(self._database)
        return SqliteLeases(self._database.another(inline=True), own=True)

    async def migrate(self, target: int | None = None, phase: Phase | None = None) -> list[str]:
        """See the port. Needs an open store, or opens it for as long as this takes."""
        opened = await self._database.open()
        try:
            now = self._database.now()
            return await self._database.write(
                lambda connection: migrating.migrate(connection, target, now, phase)
            )
        finally:
            if opened:
                await self._database.close()

    async def schema(self) -> list[tuple[str, bool]]:
        """See the port."""
        opened = await self._database.open()
        try:
            have = await self._database.read(migrating.applied)
        finally:
            if opened:
                await self._database.close()
        known = known_migrations(migrating.PACKAGE)
        names = {migration.number: migration.name for migration in known} | have
        return [(names[number], number in have) for number in sorted(names)]
