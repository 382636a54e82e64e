"""A claim in one transaction: choose by policy or by hints, read what the handlers need, mark as running."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from itertools import groupby, islice

from flux.domain.errors import LeaseLost
from flux.domain.job import ClaimedJob
from flux.engine.ports import Demand, Lane
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value

SQL = Statements("claim.sql")

_jobs = decoder(list[ClaimedJob])
_lanes = decoder(list[tuple[str, int, str]])
_ids = decoder(list[str])
_streams = decoder(list[list[str]])
_hinted = decoder(list[tuple[int, str, str]])

_FEW_LANES = 4

INLINE = 65_536
"""Characters of a payload or checkpoint that are read with those of the other jobs."""

MOST = 64_000_000
"""Characters of the longer ones that one claim takes, and at most as many of the shorter ones; a job that is longer
by itself is claimed all the same."""


class Claim:
    """One claim: a demand, met at one instant of the store's clock under a fresh fence."""

    def __init__(self, namespace: str, now: int, demand: Demand, claim_id: int) -> None:
        self._namespace = namespace
        self._now = now
        self._demand = demand
        self._claim_id = claim_id
        self._room = dict(demand.queues)

    def run(self, connection: sqlite3.Connection) -> list[ClaimedJob]:
        """Claim. Raises ``LeaseLost``."""
        demand = self._demand
        hinted = demand.hints is not None
        ids = self._from_hints(connection) if hinted else self._by_policy(connection)
        if not ids:
            return []
        jobs = self._read(connection, ids)
        chosen = json_text([job.id for job in jobs])
        connection.execute(
            SQL["mark_running"], (self._namespace, chosen, demand.worker_id, self._claim_id, self._now)
        )
        events = EventLog(self._namespace, self._now)
        events.jobs("running", [(job.id, job.type, job.queue) for job in jobs])
        events.write(connection)
        return jobs

    def _read(self, connection: sqlite3.Connection, ids: list[str]) -> list[ClaimedJob]:
        """The jobs with their documents; without those for whose documents there is no room in this claim."""
        inline = min(INLINE, MOST // len(ids))
        values = (self._namespace, json_text(ids), self._claim_id, self._now, inline)
        found: list[ClaimedJob] = _jobs(one_value(connection, SQL["read_claimed"], values))
        jobs: list[ClaimedJob] = []
        taken = 0
        for job in found:
            if job.payload == "" or job.checkpoint == "":
                size: int = one_value(connection, SQL["size_of_claimed"], (self._namespace, job.id))
                if taken + size > MOST and jobs:
                    continue
                taken += size
                row = connection.execute(SQL["read_documents"], (self._namespace, job.id)).fetchone()
                job.payload, job.checkpoint = row
            jobs.append(job)
        return jobs

    def _under_lease(self, lease_until: int | None) -> None:
        """In the same transaction as all that follows: without it a claim can land under a worker being swept."""
        if lease_until is None or lease_until <= self._now:
            raise LeaseLost(f"The lease of worker {self._demand.worker_id} has lapsed.")

    def _admit(self, queue: str) -> bool:
        """Take a place in a queue, when there is one."""
        room = self._room.get(queue)
        if room is None:
            return self._demand.every_queue
        if room <= 0:
            return False
        self._room[queue] = room - 1
        return True

    # --- by hints ---------------------------------------------------------------------------------------------

    def _from_hints(self, connection: sqlite3.Connection) -> list[str]:
        demand = self._demand
        lease_until, text = connection.execute(
            SQL["hinted"],
            (self._namespace, demand.worker_id, json_text(demand.hints), json_text(demand.types), self._now),
        ).fetchone()
        self._under_lease(lease_until)
        sign = 1 if demand.lowest_first else -1
        candidates: list[tuple[int, str, str]] = _hinted(text)
        candidates.sort(key=lambda candidate: (sign * candidate[0], candidate[1]))
        ids: dict[str, None] = {}
        for _, id, queue in candidates:
            if len(ids) >= demand.slots:
                break
            if id not in ids and self._admit(queue):
                ids[id] = None
        return list(ids)

    # --- by policy --------------------------------------------------------------------------------------------

    def _by_policy(self, connection: sqlite3.Connection) -> list[str]:
        demand = self._demand
        values: tuple[object, ...] = (self._namespace, demand.worker_id)
        if demand.every_queue:
            statement = SQL["lanes_everywhere"]
        else:
            statement = SQL["lanes_named"]
            values = (*values, json_text(list(demand.queues)))
        lease_until, text = connection.execute(statement, values).fetchone()
        self._under_lease(lease_until)
        sign = 1 if demand.lowest_first else -1
        types = frozenset(demand.types)
        lanes: list[tuple[str, int, str]] = [
            lane for lane in _lanes(text) if lane[2] in types and self._room.get(lane[0], 1) > 0
        ]
        lanes.sort(key=lambda lane: sign * lane[1])
        ids: list[str] = []
        for priority, level in groupby(lanes, key=lambda lane: lane[1]):
            if len(ids) >= demand.slots:
                break
            self._from_level(connection, priority, [(queue, type) for queue, _, type in level], ids)
        return ids

    def _from_level(
        self, connection: sqlite3.Connection, priority: int, lanes: list[tuple[str, str]], ids: list[str]
    ) -> None:
        """The oldest of several lanes of one priority, by id over all of them."""
        wanted = self._demand.slots - len(ids)
        if len(lanes) == 1:
            ((queue, type),) = lanes
            limit = min(wanted, self._room.get(queue, wanted))
            found = self._oldest(connection, queue, priority, type, "", limit)
            if queue in self._room:
                self._room[queue] -= len(found)
            ids += found
            return
        # Reading everything that could be wanted of each of a hundred lanes would be a hundred times too much.
        chunk = wanted if len(lanes) <= _FEW_LANES else min(wanted, max(8, 2 * wanted // len(lanes)))
        values = (self._namespace, priority, json_text(lanes), self._now, chunk)
        heads: list[list[str]] = _streams(one_value(connection, SQL["oldest_of_lanes"], values))
        streams = [
            self._stream(connection, queue, priority, type, head, chunk)
            for (queue, type), head in zip(lanes, heads, strict=True)
        ]
        for id, queue in heapq.merge(*streams):
            if self._admit(queue):
                ids.append(id)
                if len(ids) >= self._demand.slots:
                    return

    def _stream(
        self,
        connection: sqlite3.Connection,
        queue: str,
        priority: int,
        type: str,
        found: list[str],
        limit: int,
    ) -> Iterator[tuple[str, str]]:
        """A lane from its head on, which is as long as the limit when there is more behind it."""
        while True:
            for id in found:
                yield id, queue
            if len(found) < limit or self._room.get(queue, 1) <= 0:
                return
            found = self._oldest(connection, queue, priority, type, found[-1], limit)

    def _oldest(
        self, connection: sqlite3.Connection, queue: str, priority: int, type: str, after: str, limit: int
    ) -> list[str]:
        values = (self._namespace, queue, priority, type, after, self._now, limit)
        text = one_value(connection, SQL["oldest_of_lane"], values)
        found: list[str] = _ids(text)
        return found


def find_lanes(connection: sqlite3.Connection, namespace: str) -> list[tuple[str, int, str]]:
    """All (queue, priority, type) that have available jobs."""
    found: list[tuple[str, int, str]] = _lanes(one_value(connection, SQL["all_lanes"], (namespace,)))
    return found


def oldest(
    connection: sqlite3.Connection, namespace: str, now: int, lane: Lane, after: str | None, limit: int
) -> list[str]:
    """The ids that a claim by policy would take from a lane, whatever their type."""
    key = (namespace, lane.queue, lane.priority)
    types: list[str] = _ids(one_value(connection, SQL["types_of_lane"], key))
    chunk = limit if len(types) <= _FEW_LANES else min(limit, max(8, 2 * limit // len(types)))

    def of_type(type: str) -> Iterator[str]:
        last = after or ""
        while True:
            values = (*key, type, last, now, chunk)
            found: list[str] = _ids(one_value(connection, SQL["oldest_of_lane"], values))
            yield from found
            if len(found) < chunk:
                return
            last = found[-1]

    return list(islice(heapq.merge(*map(of_type, types)), limit))
