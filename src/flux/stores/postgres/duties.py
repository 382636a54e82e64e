"""The Duties port: what the leader does, each write under its epoch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from flux.domain.errors import NotLeader
from flux.domain.job import JobState
from flux.domain.shares import shares_of
from flux.engine.ports import Lane, Promoted, Rescued, Retention
from flux.stores.postgres import depth, partitions, pruning
from flux.stores.postgres.claiming import SQL as CLAIM
from flux.stores.postgres.clock import SQL
from flux.stores.postgres.database import Database
from flux.stores.postgres.ending import end, standing
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.promoting import Plan, Promotion
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import is_uuid
from flux.stores.standing import Ending, buried, expired, report, rescued

T = TypeVar("T")

_LATEST = 2**63 - 1
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"

LONGEST_LEADERSHIP = 60_000_000
"""Microseconds of lease that no leader has: what lasts longer was written before the clock was set back."""


class PostgresDuties:
    """The leader's duties in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace
        self._sampled: tuple[list[depth.Row], int] = ([], 0)
        self._strays: frozenset[int] = frozenset()

    # --- leadership -------------------------------------------------------------------------------------------

    async def lead(self, holder: str, lease: int) -> int | None:
        """See the port. A lapsed leadership begins anew, even with the same holder."""
        namespace = self._namespace
        asked = {"namespace": namespace, "now": self._database.now()}
        renewed = await self._database.statement(SQL["renew_leader"], holder=holder, lease=lease, **asked)
        if renewed:
            epoch: int = renewed[0][0]
            return epoch

        async def work(session: Session) -> int | None:
            await session.run(SQL["first_leader"], namespace=namespace)
            found = await session.row(SQL["lock_leader"], **asked)
            assert found is not None  # it was made just now
            leads, epoch, lease_until, now = found
            if leads is not None and lease_until > now:
                if leads == holder:
                    return int(epoch)
                if lease_until > now + max(lease, LONGEST_LEADERSHIP):
                    # The clock was set back: what a living leader renews by itself must not outlast a dead one.
                    await session.run(
                        SQL["write_leader"],
                        namespace=namespace,
                        holder=leads,
                        epoch=epoch,
                        lease_until=now + lease,
                    )
                return None
            epoch += 1
            await session.run(
                SQL["write_leader"], namespace=namespace, holder=holder, epoch=epoch, lease_until=now + lease
            )
            return int(epoch)

        return await self._database.calm(work)

    async def resign(self, holder: str) -> None:
        """See the port."""

        async def work(session: Session) -> None:
            await session.run(SQL["resign"], namespace=self._namespace, holder=holder)

        await self._database.calm(work)

    async def _lead(self, epoch: int, work: Callable[[Session, int], Awaitable[T]]) -> T:
        """Run a work at an instant, as long as the epoch is the leader's.

        What was written is committed only while nobody else leads: the leader's row is held from the last check to the
        commit. A work that wrote nothing leaves no lock and so costs no commit.
        """

        async def checked(session: Session) -> T:
            row = await session.row(SQL["read_epoch"], namespace=self._namespace, now=self._database.now())
            if row is None or row[1] != epoch:
                raise NotLeader(f"Epoch {epoch} is over: another scheduler leads.")
            result = await work(session, row[0])
            if session.wrote:
                held = await session.value(SQL["hold_epoch"], namespace=self._namespace, epoch=epoch)
                if held is None:
                    raise NotLeader(f"Epoch {epoch} is over: another scheduler leads.")
            return result

        return await self._database.calm(checked)

    # --- what is due ------------------------------------------------------------------------------------------

    async def next_due(self) -> int | None:
        """See the port."""
        rows = await self._database.statement(
            SQL["next_due"], namespace=self._namespace, now=self._database.now()
        )
        at: int | None = rows[0][0]
        return at

    async def promote_due(self, epoch: int, limit: int, plan: Plan) -> Promoted:
        """See the port."""
        return await self._lead(
            epoch, lambda session, now: Promotion(session, self._namespace, now, plan).run(limit)
        )

    # --- jobs that end without a worker -----------------------------------------------------------------------

    async def expire(self, epoch: int, limit: int) -> int:
        """See the port."""

        async def work(session: Session, now: int) -> int:
            rows = await session.fetch(SQL["lock_expired"], namespace=self._namespace, now=now, limit=limit)
            jobs = await standing(session, self._namespace, [str(row[0]) for row in rows])
            return await self._end(session, now, [expired(job) for job in jobs.values()])

        return await self._lead(epoch, work)

    async def rescue_lost(self, epoch: int, grace: int, limit: int) -> list[Rescued]:
        """See the port. What somebody else has locked is left for the next pass."""

        async def work(session: Session, now: int) -> list[Rescued]:
            asked = {"namespace": self._namespace, "now": now}
            await session.run(SQL["pull_leases_back"], **asked)
            found = await session.fetch(SQL["lost"], grace=grace, limit=limit, **asked)
            if not found:
                return []
            workers = sorted({row[2] for row in found if row[1] and row[2] is not None})
            await session.fetch(SQL["lock_lapsed"], ids=workers, **asked)
            lost = {str(row[0]): (row[1], row[2]) for row in found}
            jobs = await standing(session, self._namespace, lost, wait=False)
            endings = [
                rescued(job, lost[job.id][0], now)
                for job in jobs.values()
                # Ended, and claimed by somebody else since it was seen: then it is not lost.
                if job.state is JobState.RUNNING and job.worker_id == lost[job.id][1]
            ]
            await self._end(session, now, endings)
            return [report(one, lost[one.job.id][0]) for one in endings]

        return await self._lead(epoch, work)

    async def bury(self, epoch: int, type: str, queue: str, available_before: int, limit: int) -> int:
        """See the port."""

        async def work(session: Session, now: int) -> int:
            rows = await session.fetch(
                SQL["lock_of_type"],
                namespace=self._namespace,
                queue=queue,
                type=type,
                before=min(available_before, _LATEST),
                limit=limit,
            )
            jobs = await standing(session, self._namespace, [str(row[0]) for row in rows])
            return await self._end(session, now, [buried(job) for job in jobs.values()])

        return await self._lead(epoch, work)

    async def _end(self, session: Session, now: int, endings: Sequence[Ending]) -> int:
        events = EventLog(self._namespace, now)
        await end(session, self._namespace, now, endings, events)
        await events.write(session)
        return len(endings)

    async def waiting_types(self) -> list[tuple[str, str, int]]:
        """See the port."""

        async def work(session: Session) -> list[tuple[str, str, int]]:
            workers = await session.fetch(
                SQL["living_workers"], namespace=self._namespace, now=self._database.now()
            )
            if not workers:
                return []
            since: dict[tuple[str, str], int] = {}
            for queue, priority, type in await session.fetch(CLAIM["all_lanes"], namespace=self._namespace):
                if not any(type in types and shares_of(served).serves(queue) for served, types in workers):
                    lane = {"queue": queue, "priority": priority, "type": type}
                    run_at = await session.value(SQL["available_since"], namespace=self._namespace, **lane)
                    if run_at is not None:
                        since[type, queue] = min(run_at, since.get((type, queue), run_at))
            return [(type, queue, at) for (type, queue), at in sorted(since.items())]

        return await self._database.calm(work)

    # --- what a broker is fed with ----------------------------------------------------------------------------

    async def lanes(self) -> list[Lane]:
        """See the port."""
        rows = await self._database.statement(SQL["lanes"], namespace=self._namespace)
        return [Lane(queue, priority) for queue, priority in rows]

    async def offerable(self, lane: Lane, after: str | None, limit: int) -> list[str]:
        """See the port."""
        rows = await self._database.statement(
            SQL["offerable"],
            namespace=self._namespace,
            now=self._database.now(),
            queue=lane.queue,
            priority=lane.priority,
            after=after if after is not None and is_uuid(after) else _BEFORE_ALL,
            limit=limit,
        )
        return [str(row[0]) for row in rows]

    # --- keeping house ----------------------------------------------------------------------------------------

    async def prune(self, epoch: int, retention: Retention, limit: int) -> bool:
        """See the port. Partitions come and go in transactions of their own, since they lock the whole table."""
        strays = await self._lead(epoch, partitions.make_ahead)
        partitions.warn_of(strays - self._strays)
        self._strays = strays
        more = False
        for name in await self._lead(
            epoch, lambda session, now: partitions.past_retention(session, now, retention)
        ):
            more |= await self._lead(
                epoch,
                lambda session, now, name=name: partitions.drop(session, now, name, limit),  # type: ignore[misc]
            )
        return more | await self._lead(
            epoch,
            lambda session, now: pruning.prune(session, self._namespace, now, retention, limit),
        )

    async def sample_depth(self, epoch: int) -> None:
        """See the port."""

        async def work(session: Session, now: int) -> None:
            sample = await depth.sample(session, self._namespace, now)
            last, written_at = self._sampled
            if sample is None or (sample == last and 0 <= now - written_at < depth.STANDS_FOR):
                return
            await depth.write(session, self._namespace, now, sample)
            self._sampled = (sample, now)

        await self._lead(epoch, work)
