"""The Duties port: what the leader does, each write under its epoch."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from flux.domain.errors import NotLeader
from flux.domain.shares import shares_of
from flux.engine.ports import Lane, Promoted, Rescued, Retention
from flux.stores.sqlite import depth, pruning
from flux.stores.sqlite.claiming import find_lanes, oldest
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.ending import end, standing
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.promoting import SQL, Plan, Promotion
from flux.stores.sqlite.sql import decoder, one_value
from flux.stores.standing import Ending, Standing, buried, expired, report, rescued

T = TypeVar("T")

_ids = decoder(list[str])
_lanes = decoder(list[tuple[str, int]])
_lost = decoder(list[tuple[str, int]])
_workers = decoder(list[tuple[str, list[str]]])


_LATEST = 2**63 - 1

LONGEST_LEADERSHIP = 60_000_000
"""Microseconds of lease that no leader has: what lasts longer was written before the clock was set back."""


class SqliteDuties:
    """The leader's duties in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace
        self._sampled: tuple[list[depth.Row], int] = ([], 0)

    async def lead(self, holder: str, lease: int) -> int | None:
        """See the port. A lapsed leadership begins anew, even with the same holder."""

        def work(connection: sqlite3.Connection) -> int | None:
            now = self._database.now()
            row = connection.execute(SQL["read_leader"], (self._namespace,)).fetchone()
            epoch = 1 if row is None else row[1]
            if row is not None:
                alive = row[0] is not None and row[2] > now
                if alive and row[0] != holder:
                    if row[2] > now + max(lease, LONGEST_LEADERSHIP):
                        # The clock was set back: what a living leader renews by itself must not outlast a dead one.
                        values = (self._namespace, row[0], epoch, now + lease)
                        connection.execute(SQL["write_leader"], values)
                    return None
                if not alive:
                    epoch += 1
            connection.execute(SQL["write_leader"], (self._namespace, holder, epoch, now + lease))
            return epoch

        return await self._database.write(work)

    async def resign(self, holder: str) -> None:
        """See the port."""
        await self._database.write(
            lambda connection: connection.execute(SQL["resign"], (self._namespace, holder)).rowcount
        )

    async def _lead(self, epoch: int, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Run a work at an instant, as long as the epoch is the leader's."""

        def checked(connection: sqlite3.Connection) -> T:
            row = connection.execute(SQL["read_leader"], (self._namespace,)).fetchone()
            if row is None or row[1] != epoch:
                raise NotLeader(f"Epoch {epoch} is over: another scheduler leads.")
            return work(connection, self._database.now())

        return await self._database.write(checked)

    async def next_due(self) -> int | None:
        """See the port."""

        def work(connection: sqlite3.Connection) -> int | None:
            at: int | None = one_value(connection, SQL["next_due"], (self._namespace, self._database.now()))
            return at

        return await self._database.read(work)

    async def promote_due(self, epoch: int, limit: int, plan: Plan) -> Promoted:
        """See the port."""
        return await self._lead(
            epoch, lambda connection, now: Promotion(connection, self._namespace, now, plan).run(limit)
        )

    # --- jobs that end without a worker -----------------------------------------------------------------------

    async def expire(self, epoch: int, limit: int) -> int:
        """See the port."""

        def work(connection: sqlite3.Connection, now: int) -> int:
            ids = _ids(one_value(connection, SQL["expired"], (self._namespace, now, limit)))
            return len(self._end(connection, now, ids, expired))

        return await self._lead(epoch, work)

    async def rescue_lost(self, epoch: int, grace: int, limit: int) -> list[Rescued]:
        """See the port."""

        def work(connection: sqlite3.Connection, now: int) -> list[Rescued]:
            connection.execute(SQL["pull_leases_back"], (self._namespace, now))
            text = one_value(connection, SQL["lost"], (self._namespace, now, grace, limit))
            lost: dict[str, int] = dict(_lost(text))
            endings = self._end(
                connection, now, list(lost), lambda job: rescued(job, bool(lost[job.id]), now)
            )
            return [report(one, bool(lost[one.job.id])) for one in endings]

        return await self._lead(epoch, work)

    async def bury(self, epoch: int, type: str, queue: str, available_before: int, limit: int) -> int:
        """See the port."""

        def work(connection: sqlite3.Connection, now: int) -> int:
            values = (self._namespace, queue, type, min(available_before, _LATEST), limit)
            ids = _ids(one_value(connection, SQL["of_type"], values))
            return len(self._end(connection, now, ids, buried))

        return await self._lead(epoch, work)

    def _end(
        self,
        connection: sqlite3.Connection,
        now: int,
        ids: list[str],
        ending: Callable[[Standing], Ending],
    ) -> list[Ending]:
        if not ids:
            return []
        events = EventLog(self._namespace, now)
        jobs = standing(connection, self._namespace, ids)
        endings = [ending(job) for job in jobs.values()]
        end(connection, self._namespace, now, endings, events)
        events.write(connection)
        return endings

    async def waiting_types(self) -> list[tuple[str, str, int]]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
            now = self._database.now()
            workers = _workers(one_value(connection, SQL["living_workers"], (self._namespace, now)))
            if not workers:
                return []
            since: dict[tuple[str, str], int] = {}
            for queue, priority, type in find_lanes(connection, self._namespace):
                if not any(type in types and shares_of(served).serves(queue) for served, types in workers):
                    values = (self._namespace, queue, priority, type)
                    run_at: int = one_value(connection, SQL["available_since"], values)
                    since[type, queue] = min(run_at, since.get((type, queue), run_at))
            return [(type, queue, at) for (type, queue), at in sorted(since.items())]

        return await self._database.read(work)

    # --- what a broker that holds hints is fed ----------------------------------------------------------------

    async def lanes(self) -> list[Lane]:
        """See the port."""

        def work(connection: sqlite3.Connection) -> list[Lane]:
            found: list[tuple[str, int]] = _lanes(one_value(connection, SQL["lanes"], (self._namespace,)))
            return [Lane(queue, priority) for queue, priority in found]

        return await self._database.read(work)

    async def offerable(self, lane: Lane, after: str | None, limit: int) -> list[str]:
        """See the port."""
        return await self._database.read(
            lambda connection: oldest(connection, self._namespace, self._database.now(), lane, after, limit)
        )

    # --- keeping house ----------------------------------------------------------------------------------------

    async def prune(self, epoch: int, retention: Retention, limit: int) -> bool:
        """See the port. What takes long to count is counted beside the writer."""

        def count(connection: sqlite3.Connection) -> tuple[int, int]:
            return pruning.surplus(connection, self._namespace, retention), pruning.oversize(connection)

        excess, too_large = await self._database.read(count)
        return await self._lead(
            epoch,
            lambda connection, now: pruning.prune(
                connection, self._namespace, now, retention, limit, excess, too_large
            ),
        )

    async def sample_depth(self, epoch: int) -> None:
        """See the port."""
        now = self._database.now()
        sample = await self._database.read(lambda connection: depth.sample(connection, self._namespace, now))
        last, written_at = self._sampled
        if sample is None or (sample == last and 0 <= now - written_at < depth.STANDS_FOR):
            return
        await self._lead(epoch, lambda connection, at: depth.write(connection, self._namespace, at, sample))
        self._sampled = (sample, now)
