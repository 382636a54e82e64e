"""Queues, and what people set on them."""

from __future__ import annotations

import sqlite3
from typing import Final, TypeAlias, TypeVar

import msgspec

from flux.engine.ports import QueueSettings, QueueView
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.events import EventLog

T = TypeVar("T")
List: TypeAlias = list[T]  # inside the class the name is taken by the verb

_MOST_QUEUES: Final = 10_000


class SqliteQueues:
    """The port ``Queues``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._namespace = database.namespace

    async def set(
        self, name: str, *, paused: bool | None, by: str | None, max_depth: int | None, clear_depth: bool
    ) -> QueueSettings:
        """Change settings; None leaves one as it is, ``clear_depth`` lifts the bound."""

        def work(connection: sqlite3.Connection) -> QueueSettings:
            now = self._database.now()
            settings = self._get(connection, name)
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
            self._put(connection, settings)
            events.write(connection)
            return settings

        return await self._database.write(work)

    def _get(self, connection: sqlite3.Connection, name: str) -> QueueSettings:
        row = connection.execute(_GET, (self._namespace, name)).fetchone()
        if row is None:
            return QueueSettings(name=name)
        return QueueSettings(
            name=name, paused=bool(row[0]), paused_at=row[1], paused_by=row[2], max_depth=row[3]
        )

    def _put(self, connection: sqlite3.Connection, settings: QueueSettings) -> None:
        connection.execute(
            _PUT,
            (
                self._namespace,
                settings.name,
                settings.paused,
                settings.paused_at,
                settings.paused_by,
                settings.max_depth,
            ),
        )

    async def list(self) -> List[QueueView]:
        """All queues, by name."""

        def work(connection: sqlite3.Connection) -> tuple[str, str]:
            parameters = {"namespace": self._namespace, "most": _MOST_QUEUES}
            settings = connection.execute(_LIST, parameters).fetchone()[0]
            return settings, connection.execute(_DEPTHS, parameters).fetchone()[0]

        settings, depths = await self._database.read(work)
        views = {
            name: QueueView(
                settings=QueueSettings(
                    name=name, paused=bool(paused), paused_at=paused_at, paused_by=paused_by, max_depth=most
                ),
                depth={},
                oldest=None,
                sampled_at=None,
            )
            for name, paused, paused_at, paused_by, most in msgspec.json.decode(
                settings, type=list[tuple[str, int, int | None, str | None, int | None]]
            )
        }
        sampled_at = None
        for slot, queue, state, depth, oldest in msgspec.json.decode(
            depths, type=list[tuple[int, str, str, int, int | None]]
        ):
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


_GET = "SELECT paused, paused_at, paused_by, max_depth FROM queues WHERE namespace = ? AND name = ?"

_PUT = """INSERT INTO queues (namespace, name, paused, paused_at, paused_by, max_depth) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, name) DO UPDATE SET paused = excluded.paused, paused_at = excluded.paused_at,
        paused_by = excluded.paused_by, max_depth = excluded.max_depth"""

_LIST = """SELECT json_group_array(json_array(name, paused, paused_at, paused_by, max_depth)) FROM (
    SELECT * FROM queues WHERE namespace = :namespace ORDER BY name LIMIT :most)"""

_DEPTHS = """SELECT json_group_array(json_array(slot, queue, state, depth, oldest)) FROM depths
    WHERE namespace = :namespace AND slot = (SELECT max(slot) FROM depths WHERE namespace = :namespace)"""
