"""What people do with queues."""

from __future__ import annotations

import msgspec

from flux.domain.errors import Invalid, NotFound
from flux.domain.request import queue_name
from flux.engine.ports import Broker, JobFilter, QueueSettings, QueueView, Store


class QueueChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PATCH /queues/{q}``: only what is given is changed; ``max_depth: null`` lifts the bound."""

    paused: bool | msgspec.UnsetType = msgspec.UNSET
    max_depth: int | msgspec.UnsetType | None = msgspec.UNSET


class QueueService:
    """Looking at queues, pausing them, bounding them."""

    def __init__(self, store: Store, broker: Broker) -> None:
        self._store = store
        self._broker = broker

    async def list(self) -> list[QueueView]:
        """All queues, by name."""
        return await self._store.queues.list()

    async def get(self, name: str) -> QueueView:
        """One queue: a job or a setting makes it. Raises ``NotFound``, and ``Invalid`` for a bad name."""
        _check(name)
        for view in await self._store.queues.list():
            if view.settings.name == name:
                return view
        # Its first job may be younger than the newest sample, and its last one may have ended before that.
        page = await self._store.queries.list(JobFilter(queue=name), 1, None, False)
        if not page.jobs and page.next_cursor is None:
            raise NotFound(f"there is no queue {name}: no job was put into it and nothing was set on it")
        return QueueView(settings=QueueSettings(name=name), depth={}, oldest=None, sampled_at=None)

    async def pause(self, name: str, by: str | None = None) -> QueueSettings:
        """No job of it is claimed until it is resumed; running ones go on."""
        _check(name)
        return await self._store.queues.set(name, paused=True, by=by, max_depth=None, clear_depth=False)

    async def resume(self, name: str, by: str | None = None) -> QueueSettings:
        """Let its jobs be claimed again."""
        _check(name)
        settings = await self._store.queues.set(name, paused=False, by=by, max_depth=None, clear_depth=False)
        await self._broker.poke()
        return settings

    async def change(self, name: str, change: QueueChange) -> QueueSettings:
        """Set what is given. Raises ``Invalid``."""
        _check(name)
        depth = change.max_depth
        if isinstance(depth, int) and depth < 0:
            raise Invalid.one("max_depth", "must not be negative; null lifts the bound")
        settings = await self._store.queues.set(
            name,
            paused=change.paused if isinstance(change.paused, bool) else None,
            by=None,
            max_depth=depth if isinstance(depth, int) else None,
            clear_depth=depth is None,
        )
        if change.paused is False:
            await self._broker.poke()
        return settings


def _check(name: str) -> None:
    if not queue_name(name):
        raise Invalid.one(
            "queue", "begins with a letter or digit, goes on with letters, digits and _ . : / -, at most 100"
        )
