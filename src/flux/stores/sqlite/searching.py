"""Finding the ids of a page: each source gives its newest, bounded in rows and in time, and they are merged."""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import islice
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
_MOST_LANES: Final = 2_000
_LANE_CHUNK: Final = 64

Lane = tuple[str | int, ...]

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
        sql = look_sql(walk)
        high = self._parameters["high"]

        def look(size: int) -> tuple[list[str], str, int]:
            nonlocal high
            text, high, count = self._one(sql, high=high, chunk=size)
            return _ids.decode(text), high, count

        return self._sift(look, most)

    def _sift(self, look: Callable[[int], tuple[list[str], str, int]], most: int | None = None) -> Found:
        """Look at candidates, in chunks that grow: a page that is found soon costs little.

        ``look`` goes on with at most so many: those that pass, the oldest one looked at, how many there were.
        """
        most = MOST_CANDIDATES if most is None else most
        ids: list[str] = []
        looked, chunk = 0, _FIRST_CHUNK
        while True:
            size = min(chunk, most - looked)
            began = time.monotonic()
            passed, oldest, count = look(size)
            ids += passed
            looked += count
            if count < size:
                return Found(ids)
            if len(ids) >= self._want:
                # Enough, and so no floor: nothing older of this source can be on the page.
                return Found(ids[: self._want])
            now = time.monotonic()
            if looked >= most or now > self._deadline:
                return Found(ids, oldest)
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
        known = list(islice(self._known(lanes), _MOST_LANES + 1))
        if len(known) > _MOST_LANES:
            return self._look(lanes.otherwise)
        candidates = self._merged(lanes, known)
        if not lanes.checks:
            return Found(list(islice(candidates, self._want)))
        sql = pick_sql(lanes)

        def look(size: int) -> tuple[list[str], str, int]:
            some = list(islice(candidates, size))
            passed = self._one(sql, some=msgspec.json.encode(some).decode())[0]
            return _ids.decode(passed), some[-1] if some else "", len(some)

        return self._sift(look)

    def _known(self, lanes: Lanes, lane: Lane = ()) -> Iterator[Lane]:
        """The lanes that begin so: a seek for each, however many jobs it has."""
        if len(lane) == len(lanes.columns):
            yield lane
            return
        column = lanes.columns[len(lane)]
        for value in lanes.only.get(column) or self._values_of(lanes, lane):
            yield from self._known(lanes, (*lane, value))

    def _values_of(self, lanes: Lanes, lane: Lane) -> Iterator[str | int]:
        """What the next column has, smallest first."""
        row = self._row_of(next_value_sql(lanes, len(lane), after=False), lane)
        sql = next_value_sql(lanes, len(lane), after=True)
        while row is not None:
            yield row[0]
            row = self._row_of(sql, lane, after=row[0])

    def _row_of(self, sql: str, lane: Lane, **more: Any) -> tuple[Any, ...] | None:
        values = {f"lane{number}": value for number, value in enumerate(lane)}
        row: tuple[Any, ...] | None = self._connection.execute(
            sql, self._parameters | values | more
        ).fetchone()
        return row

    def _merged(self, lanes: Lanes, known: list[Lane]) -> Iterator[str]:
        """Their ids, newest first; only lanes whose turn comes are read past their newest."""
        sql = newest_of_lane_sql(lanes)

        def read(lane: Lane, high: str, chunk: int) -> list[str]:
            row = self._row_of(sql, lane, high=high, chunk=chunk)
            return _ids.decode(row[0])[::-1] if row else []

        # A heap of negated order: heapq has no largest-first, so ids are inverted by their number.
        heap: list[tuple[int, Lane, list[str]]] = []
        for lane in known:
            ready = read(lane, self._parameters["high"], 1)
            if ready:
                heap.append((-_number(ready[-1]), lane, ready))
        heapq.heapify(heap)
        while heap:
            _, lane, ready = heapq.heappop(heap)
            last = ready.pop()
            yield last
            ready = ready or read(lane, last, _LANE_CHUNK)
            if ready:
                heapq.heappush(heap, (-_number(ready[-1]), lane, ready))


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


def next_value_sql(lanes: Lanes, depth: int, after: bool) -> str:
    """The smallest value of the column at ``depth``, below the lane's first ones, or the smallest past ``:after``."""
    column = lanes.columns[depth]
    past = f"AND {column} > :after" if after else ""
    return f"""SELECT {column} FROM {lanes.table} INDEXED BY {lanes.index}
        WHERE {lanes.where} AND namespace = :namespace AND {_lane(lanes, depth)} {past} ORDER BY {column} LIMIT 1"""


def newest_of_lane_sql(lanes: Lanes) -> str:
    """The newest ``:chunk`` ids of a lane."""
    return f"""SELECT json_group_array(id) FROM (
        SELECT id FROM {lanes.table} INDEXED BY {lanes.index}
        WHERE {lanes.where} AND {_lane(lanes, len(lanes.columns))} AND {_RANGE} ORDER BY id DESC LIMIT :chunk)"""


def pick_sql(lanes: Lanes) -> str:
    """Of ``:some`` candidates those that pass, in their order."""
    return f"""SELECT json_group_array(c.id) FROM json_each(:some) AS key
        CROSS JOIN {lanes.table} AS c ON c.namespace = :namespace AND c.id = key.value
        WHERE {_all(lanes.checks)}"""


def _lane(lanes: Lanes, depth: int) -> str:
    return (
        " AND ".join(f"{column} = :lane{number}" for number, column in enumerate(lanes.columns[:depth]))
        or "1"
    )


def _bound(walk: Walk) -> str:
    """Bind a walk to its index by name, so that no planner can turn a page into a scan."""
    return f"INDEXED BY {f'sqlite_autoindex_{walk.table}_1' if walk.index == KEY else walk.index}"


def _all(checks: tuple[Check, ...]) -> str:
    return " AND ".join(f"({check.sql})" for check in checks) or "1"


def _read(checks: tuple[Check, ...]) -> str:
    return ", ".join(sorted({"id", *(check.column for check in checks)}))
