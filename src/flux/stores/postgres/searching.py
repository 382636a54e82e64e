"""Finding the ids of a page: each source gives its newest, bounded in rows and in time, and they are merged."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from flux.stores.listing import Check, Lanes, Listing, Pool, Source, Walk
from flux.stores.postgres.rows import SQL
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statement

MOST_CANDIDATES: Final = 20_000
"""How many rows a search without an index looks at."""

MOST_SECONDS: Final = 0.25
"""And for how long: payloads may be large. At least one small chunk of each source is always looked at."""

_FIRST_CHUNK: Final = 16
_LARGEST_CHUNK: Final = 4_096
_SLOW_CHUNK: Final = 0.05
"""A chunk that took so many seconds is not followed by a larger one, so that the clock is looked at in time."""
_FIRST_LOOK: Final = 1_024
_MOST_LANES: Final = 1_000


class Found(msgspec.Struct):
    """Ids, newest first. ``floor``: the search stopped there, and what is older was not looked at."""

    ids: list[str]
    floor: str | None = None


class Search:
    """One search."""

    def __init__(self, session: Session, namespace: str, listing: Listing, high: str, want: int) -> None:
        """``want`` ids below ``high`` are looked for."""
        self._session = session
        self._want = want
        self._sources = listing.sources
        self._deadline = time.monotonic() + MOST_SECONDS
        self._values: dict[str, Any] = listing.values | {
            "namespace": namespace,
            "low": listing.low,
            "high": min(high, listing.high),
            "want": want,
        }
        self._key = listing.key

    async def run(self) -> Found:
        """The newest ``want`` ids that match, and how far it was looked when that may not be all."""
        if self._key is not None:
            id = await self._session.value(
                SQL["key_holder"], namespace=self._values["namespace"], key=self._key
            )
            if id is None:
                return Found([])
            self._values["key_id"] = id
        answers = [await self._ask(source) for source in self._sources]
        floor = max((answer.floor for answer in answers if answer.floor is not None), default=None)
        # Below a floor one source has not been looked at, so older ids of the others must wait for the next page.
        ids = sorted(
            {one for answer in answers for one in answer.ids if floor is None or one >= floor}, reverse=True
        )
        return Found(ids[: self._want], floor)

    async def _ask(self, source: Source) -> Found:
        if isinstance(source, Pool):
            return await self._pool(source)
        if isinstance(source, Lanes):
            return await self._lanes(source)
        return await self._look(source)

    async def _rows(self, text: str, **more: Any) -> list[Any]:
        return await self._session.fetch(Statement("search", text), **self._values, **more)

    async def _look(self, walk: Walk, most: int = MOST_CANDIDATES) -> Found:
        """Look at candidates, in chunks that grow: a page that is found soon costs little."""
        text = look_sql(walk)
        ids: list[str] = []
        high, looked = self._values["high"], 0
        chunk = _FIRST_CHUNK if walk.checks else self._want
        while True:
            size = min(chunk, most - looked)
            began = time.monotonic()
            [(passed, oldest, count)] = await self._rows(text, below=high, chunk=size)
            ids += [str(id) for id in passed or ()]
            looked += count
            if count < size:
                return Found(ids)
            if len(ids) >= self._want:
                # Enough, and so no floor: nothing older of this source can be on the page.
                return Found(ids[: self._want])
            now = time.monotonic()
            if looked >= most or now > self._deadline:
                return Found(ids, str(oldest))
            high = oldest
            if now - began < _SLOW_CHUNK:
                chunk = min(chunk * 4, _LARGEST_CHUNK)

    async def _pool(self, pool: Pool) -> Found:
        # Where such jobs are many they are also among the newest rows, and then that is the shorter way.
        soon = await self._look(pool.otherwise, _FIRST_LOOK)
        if soon.floor is None:
            return soon
        [(count,)] = await self._rows(pool_count_sql(pool), most=MOST_CANDIDATES + 1)
        if count > MOST_CANDIDATES:
            return await self._look(pool.otherwise)
        return Found([str(id) for (id,) in await self._rows(pool_sql(pool))])

    async def _lanes(self, lanes: Lanes) -> Found:
        """The newest of each lane, merged."""
        rows = await self._rows(LANES_SQL, most=_MOST_LANES + 1)
        if len(rows) > _MOST_LANES:
            return await self._look(lanes.otherwise)
        queues, priorities, types = zip(*rows, strict=True) if rows else ((), (), ())
        found = await self._rows(NEWEST_OF_LANES_SQL, queues=queues, priorities=priorities, types=types)
        return Found([str(id) for (id,) in found])


# --- statements ---------------------------------------------------------------------------------------------------


def look_sql(walk: Walk) -> str:
    """Of the newest ``@chunk`` candidates those that pass, the oldest one looked at, and how many there were.

    OFFSET 0 keeps the conditions out of the walk: the planner must not look for another way to them.
    """
    return f"""SELECT array_agg(c.id ORDER BY c.id DESC) FILTER (WHERE {_all(walk.checks)}),
        (array_agg(c.id ORDER BY c.id))[1], count(*)
        FROM (SELECT * FROM flux.{walk.table}
               WHERE namespace = @namespace AND {walk.where} AND id >= @low::uuid AND id < @below::uuid
               ORDER BY id DESC LIMIT @chunk OFFSET 0) AS c"""


def pool_count_sql(pool: Pool) -> str:
    """How many candidates there are, counted no further than ``@most``."""
    return f"""SELECT count(*) FROM (
        SELECT 1 FROM flux.live WHERE namespace = @namespace AND {pool.where} LIMIT @most) AS c"""


def pool_sql(pool: Pool) -> str:
    """The newest ``@want`` of all candidates that pass."""
    return f"""SELECT c.id FROM (SELECT * FROM flux.live WHERE namespace = @namespace AND {pool.where} OFFSET 0) AS c
        WHERE c.id >= @low::uuid AND c.id < @high::uuid AND {_all((*pool.covered, *pool.checks))}
        ORDER BY c.id DESC LIMIT @want"""


def _all(checks: tuple[Check, ...]) -> str:
    return " AND ".join(f"({check.sql})" for check in checks) or "true"


# A loose index scan: one seek for each lane, however many jobs it has.
LANES_SQL = """WITH RECURSIVE lanes (queue, priority, type) AS (
    (SELECT l.queue, l.priority, l.type FROM flux.live l
      WHERE l.namespace = @namespace AND l.state = 'available' AND (@queue::text IS NULL OR l.queue = @queue)
      ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1)
    UNION ALL
    SELECT n.* FROM lanes e CROSS JOIN LATERAL (
        SELECT l.queue, l.priority, l.type FROM flux.live l
         WHERE l.namespace = @namespace AND l.state = 'available' AND (@queue::text IS NULL OR l.queue = @queue)
           AND (l.queue, l.priority, l.type) < (e.queue, e.priority, e.type)
         ORDER BY l.queue DESC, l.priority DESC, l.type DESC LIMIT 1) n
) SELECT queue, priority, type FROM lanes LIMIT @most"""

NEWEST_OF_LANES_SQL = """SELECT o.id
  FROM unnest(@queues::text[], @priorities::smallint[], @types::text[]) AS k (queue, priority, type)
 CROSS JOIN LATERAL (
    SELECT l.id FROM flux.live l
     WHERE l.namespace = @namespace AND l.state = 'available' AND l.queue = k.queue AND l.priority = k.priority
       AND l.type = k.type AND l.id >= @low::uuid AND l.id < @high::uuid
     ORDER BY l.id DESC LIMIT @want) o
 ORDER BY o.id DESC LIMIT @want"""
