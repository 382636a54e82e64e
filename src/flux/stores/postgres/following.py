"""Reading events in the order of their numbers, and past none that is still to come.

A batch is numbered when its transaction has locked what it is about, so the numbers are in the order of changes. They
are committed in any order: a smaller one may be seen later. A reader therefore takes a mark, the last number that was
given out, and reads up to it once everybody who may have such a number has ended.
"""

from __future__ import annotations

import asyncio

from flux.engine.ports import Event
from flux.stores.pages import read_event_id
from flux.stores.postgres.database import Database
from flux.stores.postgres.events import SQL, single_events

_QUICK = (0.005, 20)
_SLOW = (0.05, 18)
"""Seconds between two looks, and how many: first at whoever is under way, which costs next to nothing, then at who of
them has a number. A second in all."""

_FOREVER = (1 << 63) - 1


class EventReader:
    """Reads the events of one namespace for whoever follows them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace
        self._settled = 0
        """The last mark that has settled: everything up to it is committed, or never will be."""

    async def after(self, id: str, limit: int) -> list[Event]:
        """Events after an id, oldest first. Raises ``Invalid`` for a bad id.

        What is committed is held back by whoever took a smaller number and is still under way; for a second that is
        waited for.
        """
        batch, index = read_event_id(id)
        if not await self._anything_new(batch, index):
            return []
        rows = await self._database.statement(
            SQL["read_events"], namespace=self._namespace, batch=batch, last=self._settled, limit=limit + 1
        )
        return single_events(rows, batch, index)[:limit]

    async def newest(self) -> list[Event]:
        """The newest event; while somebody holds back what is new, the newest before that, where we have seen any."""
        if not await self._anything_new(-1, -1):
            return []
        rows = await self._database.statement(
            SQL["newest_event"], namespace=self._namespace, last=self._settled or _FOREVER
        )
        return single_events(rows)[-1:]

    async def _anything_new(self, batch: int, index: int) -> bool:
        """Whether there are events after a place; those that settle in time are settled then."""
        for last, before in await self._database.statement(
            SQL["mark_events"], namespace=self._namespace, batch=batch, index=index
        ):
            if await self._settles(before):
                self._settled = last
            return True
        return False

    async def _settles(self, before: int) -> bool:
        for look, (pause, times) in (("settled", _QUICK), ("settled_among_strangers", _SLOW)):
            for _ in range(times):
                [(settled,)] = await self._database.statement(SQL[look], before=before)
                if settled:
                    return True
                await asyncio.sleep(pause)
        return False
