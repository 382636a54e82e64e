"""Queues, and what people set on them."""

from __future__ import annotations

from typing import Final, TypeAlias, TypeVar

from flux.engine.ports import QueueSettings, QueueView
from flux.stores.postgres.clock import clock
from flux.stores.postgres.database import Database
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.inserting import SQL as INSERT
from flux.stores.postgres.schedules import SQL
from flux.stores.postgres.session import Session

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_MOST_QUEUES: Final = 10_000


class PostgresQueues:
    """The port ``Queues``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    async def set(
        self, name: str, *, paused: bool | None, by: str | None, max_depth: int | None, clear_depth: bool
    ) -> QueueSettings:
        """Change settings; None leaves one as it is, ``clear_depth`` lifts the bound."""

        async def work(session: Session) -> QueueSettings:
            await session.run(INSERT["insert_queues"], namespace=self._namespace, names=[name])
            row = await session.row(SQL["lock_queue"], namespace=self._namespace, name=name)
            assert row is not None  # it was made just now
            settings = QueueSettings(
                name=name, paused=row[0], paused_at=row[1], paused_by=row[2], max_depth=row[3]
            )
            now = await clock(session, self._database)
            events = EventLog(self._namespace, now)
            if paused is not None and paused != settings.paused:
                # Pausing what is paused keeps who did it first, and when.
                settings.paused = paused
                settings.paused_at = now if paused else None
                settings.paused_by = by if paused else None
                events.other("queue", name, "paused" if paused else "resumed")
            if clear_depth or max_depth is not None:
                settings.max_depth = None if clear_depth else max_depth
                events.other("queue", name, "changed")
            await session.run(
                SQL["put_queue"],
                namespace=self._namespace,
                name=name,
                paused=settings.paused,
                paused_at=settings.paused_at,
                paused_by=settings.paused_by,
                max_depth=settings.max_depth,
            )
            await events.write(session)
            return settings

        return await self._database.calm(work)

    async def list(self) -> List[QueueView]:
        """All queues, by name."""
        queues = await self._database.statement(
            SQL["list_queues"], namespace=self._namespace, most=_MOST_QUEUES
        )
        depths = await self._database.statement(SQL["last_depths"], namespace=self._namespace)
        views = {
            name: QueueView(
                settings=QueueSettings(
                    name=name, paused=paused, paused_at=paused_at, paused_by=paused_by, max_depth=most
                ),
                depth={},
                oldest=None,
                sampled_at=None,
            )
            for name, paused, paused_at, paused_by, most in queues
        }
        sampled_at = None
        for slot, queue, state, depth, oldest in depths:
            sampled_at = slot
            view = views.get(queue)
            if view is None:
                view = QueueView(settings=QueueSettings(name=queue), depth={}, oldest=None, sampled_at=None)
                views[queue] = view
            view.depth[state] = depth
            if state == "available":
                view.oldest = oldest
        for view in views.values():
            # A queue that the newest sample does not name was empty then.
            view.sampled_at = sampled_at
        return [views[name] for name in sorted(views)]
