"""Finding the ids of a page: each source gives its newest, bounded in rows and in time, and they are merged."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
_MOST_LANES: Final = 2_000
_MOST_OF_LANES: Final = 50_000
"""How many entries one look reads of all lanes together."""


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
        return await self._sift(look_sql(walk), self._want if not walk.checks else _FIRST_CHUNK, most)

    async def _sift(
        self,
        text: str,
        chunk: int,
        most: int = MOST_CANDIDATES,
        largest: int = _LARGEST_CHUNK,
        values: Mapping[str, Any] | None = None,
    ) -> Found:
        """Look at candidates, in chunks that grow: a page that is found soon costs little."""
        ids: list[str] = []
        high, looked = self._values["high"], 0
        while True:
            size = min(chunk, most - looked)
            began = time.monotonic()
            [(passed, oldest, count)] = await self._rows(text, below=high, chunk=size, **(values or {}))
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
                chunk = min(chunk * 4, largest)

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
        first = next(iter(lanes.only.get(lanes.columns[0], ())), None)
        known = await self._rows(lanes_sql(lanes), first=first, most=_MOST_LANES + 1)
        if len(known) > _MOST_LANES:
            return await self._look(lanes.otherwise)
        wanted = [
            lane
            for lane in known
            if all(
                column not in lanes.only or value in lanes.only[column]
                for column, value in zip(lanes.columns, lane, strict=True)
            )
        ]
        if not wanted:
            return Found([])
        values = {f"lane{number}": list(column) for number, column in enumerate(zip(*wanted, strict=True))}
        largest = min(max(_MOST_OF_LANES // len(wanted), self._want), _LARGEST_CHUNK)
        chunk = _FIRST_CHUNK if lanes.checks else self._want
        return await self._sift(look_at_lanes_sql(lanes), chunk, largest=largest, values=values)


# --- statements ---------------------------------------------------------------------------------------------------


def look_sql(walk: Walk) -> str:
    """Of the newest ``@chunk`` candidates those that pass, the oldest one looked at, and how many there were.

    OFFSET 0 keeps the conditions out of the walk: the planner must not look for another way to them.
    """
    return f"""SELECT {_summary(walk.checks)} FROM (SELECT * FROM flux.{walk.table}
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


def _summary(checks: tuple[Check, ...]) -> str:
    return f"""array_agg(c.id ORDER BY c.id DESC) FILTER (WHERE {_all(checks)}),
        (array_agg(c.id ORDER BY c.id))[1], count(*)"""


def _all(checks: tuple[Check, ...]) -> str:
    return " AND ".join(f"({check.sql})" for check in checks) or "true"


_TYPES: Final = {"priority": "smallint"}
"""Of the columns of lanes; the others are texts."""


def lanes_sql(lanes: Lanes) -> str:
    """The lanes there are, up to ``@most``: a loose index scan, one seek for each, however many jobs it has.

    Where the first column can have one value only, ``@first``, only its lanes are looked for.
    """
    columns = ", ".join(f"l.{column}" for column in lanes.columns)
    last = ", ".join(f"e.{column}" for column in lanes.columns)
    backwards = ", ".join(f"l.{column} DESC" for column in lanes.columns)
    first = lanes.columns[0]
    where = f"l.namespace = @namespace AND {lanes.where}"
    if len(lanes.only.get(first, ())) == 1:
        where += f" AND l.{first} = @first"
    one = f"SELECT {columns} FROM flux.{lanes.table} l WHERE {where}"
    return f"""WITH RECURSIVE lanes ({", ".join(lanes.columns)}) AS (
        ({one} ORDER BY {backwards} LIMIT 1)
        UNION ALL
        SELECT n.* FROM lanes e CROSS JOIN LATERAL (
            {one} AND ({columns}) < ({last}) ORDER BY {backwards} LIMIT 1) n
    ) SELECT {", ".join(lanes.columns)} FROM lanes LIMIT @most"""


def look_at_lanes_sql(lanes: Lanes) -> str:
    """As ``look_sql``, of the lanes ``@lane0``, ``@lane1``...: columns of values."""
    columns = ", ".join(lanes.columns)
    arrays = ", ".join(
        f"@lane{number}::{_TYPES.get(column, 'text')}[]" for number, column in enumerate(lanes.columns)
    )
    same = " AND ".join(f"l.{column} = k.{column}" for column in lanes.columns)
    newest = f"""SELECT o.id FROM unnest({arrays}) AS k ({columns}) CROSS JOIN LATERAL (
            SELECT l.id FROM flux.{lanes.table} l
             WHERE l.namespace = @namespace AND {lanes.where} AND {same} AND l.id >= @low::uuid AND l.id < @below::uuid
             ORDER BY l.id DESC LIMIT @chunk) o
         ORDER BY o.id DESC LIMIT @chunk"""
    rows = f"({newest}) AS c"
    if lanes.checks:
        rows = (
            f"({newest} OFFSET 0) AS o JOIN flux.{lanes.table} c ON c.namespace = @namespace AND c.id = o.id"
        )
    return f"""SELECT {_summary(lanes.checks)} FROM {rows}"""
