"""Finding the ids of a page: each source gives its newest, bounded in rows and in time, and they are merged."""

from __future__ import annotations

import heapq
import sqlite3
import time
from typing import Any, Final

import msgspec

from flux.stores.listing import KEY, Check, Lanes, Listing, Pool, Source, Walk

MOST_CANDIDATES: Final = 20_000
"""How many rows a search without an index looks at."""

MOST_SECONDS: Final = 0.08
"""And for how long: payloads may be large. At least one small chunk of each source is always looked at."""

_FIRST_CHUNK: Final = 16
_LARGEST_CHUNK: Final = 4_096
_SLOW_CHUNK: Final = 0.01
"""A chunk that took so many seconds is not followed by a larger one, so that the clock is looked at in time."""
_FIRST_LOOK: Final = 1_024
_MOST_QUEUES: Final = 200
_LANE_CHUNK: Final = 64

_ids = msgspec.json.Decoder(list[str])

# The key of a schedule finds the occurrence that waits.
_FIND_KEY: Final = """SELECT coalesce(s.next_job_id, i.job_id) FROM idempotency AS i
    LEFT JOIN schedules AS s ON s.namespace = i.namespace AND s.id = i.job_id
    WHERE i.namespace = ? AND i.key = ?"""


class Found(msgspec.Struct):
    """Ids, newest first. ``floor``: the search stopped there, and what is older was not looked at."""

    ids: list[str]
    floor: str | None = None


class Search:
    """One search on one snapshot."""

    def __init__(
        self, connection: sqlite3.Connection, namespace: str, listing: Listing, high: str, want: int
    ) -> None:
        """``want`` ids below ``high`` are looked for."""
        self._connection = connection
        self._want = want
        self._sources = listing.sources
        self._deadline = time.monotonic() + MOST_SECONDS
        self._parameters: dict[str, Any] = listing.values | {
            "namespace": namespace,
            "low": listing.low,
            "high": min(high, listing.high),
            "want": want,
        }
        self._key = listing.key

    def run(self) -> Found:
        """The newest ``want`` ids that match, and how far it was looked when that may not be all."""
        if self._key is not None and not self._find_key(self._key):
            return Found([])
        answers = [self._ask(source) for source in self._sources]
        floor = max((answer.floor for answer in answers if answer.floor is not None), default=None)
        # Below a floor one source has not been looked at, so older ids of the others must wait for the next page.
        ids = sorted(
            (one for answer in answers for one in answer.ids if floor is None or one >= floor), reverse=True
        )
        return Found(ids[: self._want], floor)

    def _find_key(self, key: str) -> bool:
        row = self._connection.execute(_FIND_KEY, (self._parameters["namespace"], key)).fetchone()
        if row is not None:
            self._parameters["key_id"] = row[0]
        return row is not None

    def _ask(self, source: Source) -> Found:
        if isinstance(source, Pool):
            return self._pool(source)
        if isinstance(source, Lanes):
            return self._lanes(source)
        return self._look(source) if source.checks else self._take(source)

    def _one(self, sql: str, **more: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(sql, self._parameters | more).fetchone()
        return row

    # --- an index in the order of ids ----------------------------------------------------------------------------

    def _take(self, walk: Walk) -> Found:
        """The index answers alone."""
        return Found(_ids.decode(self._one(take_sql(walk))[0]))

    def _look(self, walk: Walk, most: int | None = None) -> Found:
        """Look at candidates, in chunks that grow: a page that is found soon costs little."""
        sql = look_sql(walk)
        most = MOST_CANDIDATES if most is None else most
        ids: list[str] = []
        high, looked, chunk = self._parameters["high"], 0, _FIRST_CHUNK
        while True:
            size = min(chunk, most - looked)
            began = time.monotonic()
            text, oldest, count = self._one(sql, high=high, chunk=size)
            ids += _ids.decode(text)
            looked += count
            if count < size:
                return Found(ids)
            if len(ids) >= self._want:
                # Enough, and so no floor: nothing older of this source can be on the page.
                return Found(ids[: self._want])
            now = time.monotonic()
            if looked >= most or now > self._deadline:
                return Found(ids, oldest)
            high = oldest
            if now - began < _SLOW_CHUNK:
                chunk = min(chunk * 4, _LARGEST_CHUNK)

    # --- indexes in another order --------------------------------------------------------------------------------

    def _pool(self, pool: Pool) -> Found:
        # Where such jobs are many they are also among the newest rows, and then that is the shorter way.
        soon = self._look(pool.otherwise, _FIRST_LOOK)
        if soon.floor is None:
            return soon
        count = self._one(pool_count_sql(pool), most=MOST_CANDIDATES + 1)[0]
        if count > MOST_CANDIDATES:
            return self._look(pool.otherwise)
        return Found(_ids.decode(self._one(pool_sql(pool))[0]))

    def _lanes(self, lanes: Lanes) -> Found:
        """Merge lanes lazily: only those that have something on the page are read past their newest."""
        if lanes.queue is not None:
            queues = [lanes.queue]
        else:
            queues = _ids.decode(self._one(AVAILABLE_QUEUES, most=_MOST_QUEUES + 1)[0])
        if len(queues) > _MOST_QUEUES:
            return self._look(lanes.otherwise)
        heads: list[tuple[str, str, int, str]] = msgspec.json.decode(
            self._one(LANE_HEADS, queues=msgspec.json.encode(queues).decode())[0],
            type=list[tuple[str, str, int, str]],
        )
        # A heap of negated order: heapq has no largest-first, so ids are inverted by their number.
        heap = [(-_number(head), queue, priority, type, [head]) for head, queue, priority, type in heads]
        heapq.heapify(heap)
        ids: list[str] = []
        while heap and len(ids) < self._want:
            _, queue, priority, type, ready = heapq.heappop(heap)
            last = ready.pop()
            ids.append(last)
            if not ready:
                answer = self._one(
                    LANE_NEXT, lane=queue, priority=priority, kind=type, high=last, chunk=_LANE_CHUNK
                )
                ready = _ids.decode(answer[0])[::-1]
            if ready:
                heapq.heappush(heap, (-_number(ready[-1]), queue, priority, type, ready))
        return Found(ids)


def _number(id: str) -> int:
    return int(id.replace("-", ""), 16)


# --- statements ---------------------------------------------------------------------------------------------------

_RANGE = "namespace = :namespace AND id >= :low AND id < :high"


def take_sql(walk: Walk) -> str:
    """The newest ``:want`` ids of an index."""
    return f"""SELECT json_group_array(id) FROM (
        SELECT id FROM {walk.table} {_bound(walk)}
        WHERE {walk.where} AND {_RANGE} ORDER BY id DESC LIMIT :want)"""


def look_sql(walk: Walk) -> str:
    """Of the newest ``:chunk`` candidates those that pass, the oldest one looked at, and how many there were."""
    return f"""SELECT coalesce(json_group_array(c.id) FILTER (WHERE {_all(walk.checks)}), '[]'), min(c.id), count(*)
        FROM (SELECT {_read(walk.checks)} FROM {walk.table} {_bound(walk)}
        WHERE {walk.where} AND {_RANGE} ORDER BY id DESC LIMIT :chunk) AS c"""


def pool_count_sql(pool: Pool) -> str:
    """How many candidates there are, counted no further than ``:most``."""
    return f"""SELECT count(*) FROM (SELECT 1 FROM live AS c INDEXED BY {pool.index}
        WHERE {pool.where} AND {_all(pool.covered)} AND namespace = :namespace LIMIT :most)"""


def pool_sql(pool: Pool) -> str:
    """The newest ``:want`` of all candidates that pass.

    The ids are sorted out of the index alone; rows are fetched in that order and only until there are enough (a CROSS
    JOIN keeps the order of its left side).
    """
    keys = f"""SELECT id FROM live AS c INDEXED BY {pool.index}
        WHERE {pool.where} AND {_all(pool.covered)} AND {_RANGE} ORDER BY id DESC LIMIT"""
    if not pool.checks:
        return f"SELECT json_group_array(id) FROM ({keys} :want)"
    return f"""SELECT json_group_array(id) FROM (
        SELECT c.id FROM ({keys} {MOST_CANDIDATES}) AS key
        CROSS JOIN live AS c ON c.namespace = :namespace AND c.id = key.id
        WHERE {_all(pool.checks)} LIMIT :want)"""


def _bound(walk: Walk) -> str:
    """Bind a walk to its index by name, so that no planner can turn a page into a scan."""
    return f"INDEXED BY {f'sqlite_autoindex_{walk.table}_1' if walk.index == KEY else walk.index}"


def _all(checks: tuple[Check, ...]) -> str:
    return " AND ".join(f"({check.sql})" for check in checks) or "1"


def _read(checks: tuple[Check, ...]) -> str:
    return ", ".join(sorted({"id", *(check.column for check in checks)}))


# A loose index scan: one seek for each queue, however many jobs it has.
AVAILABLE_QUEUES = """
WITH RECURSIVE found(queue) AS (
    SELECT (SELECT queue FROM live INDEXED BY live_available
            WHERE namespace = :namespace AND state = 'available' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT live.queue FROM live INDEXED BY live_available
            WHERE namespace = :namespace AND state = 'available' AND live.queue > found.queue
            ORDER BY live.queue LIMIT 1)
    FROM found WHERE found.queue IS NOT NULL LIMIT :most)
SELECT json_group_array(queue) FROM found WHERE queue IS NOT NULL"""

LANE_HEADS = """
WITH RECURSIVE priority(value) AS (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)),
kind(queue, priority, type) AS (
    SELECT q.value, level.value, (
        SELECT min(type) FROM live INDEXED BY live_available
        WHERE namespace = :namespace AND state = 'available' AND live.queue = q.value AND live.priority = level.value)
    FROM json_each(:queues) AS q, priority AS level
    UNION ALL
    SELECT queue, priority, (
        SELECT min(live.type) FROM live INDEXED BY live_available
        WHERE namespace = :namespace AND state = 'available' AND live.queue = kind.queue
          AND live.priority = kind.priority AND live.type > kind.type)
    FROM kind WHERE type IS NOT NULL),
lane(queue, priority, type, head) AS (
    SELECT queue, priority, type, (
        SELECT id FROM live INDEXED BY live_available
        WHERE namespace = :namespace AND state = 'available' AND live.queue = kind.queue
          AND live.priority = kind.priority AND live.type = kind.type
          AND id >= :low AND id < :high ORDER BY id DESC LIMIT 1)
    FROM kind WHERE type IS NOT NULL)
SELECT json_group_array(json_array(head, queue, priority, type)) FROM lane WHERE head IS NOT NULL"""

LANE_NEXT = f"""SELECT json_group_array(id) FROM (
    SELECT id FROM live INDEXED BY live_available
    WHERE state = 'available' AND queue = :lane AND priority = :priority AND type = :kind AND {_RANGE}
    ORDER BY id DESC LIMIT :chunk)"""
