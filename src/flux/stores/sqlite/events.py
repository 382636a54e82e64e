"""Events: what a transaction changed, one row for each subject and state."""

from __future__ import annotations

import sqlite3

from flux.stores.releasing import Tally
from flux.stores.sqlite.sql import Statements, json_text

_COUNT = Statements("release.sql").many["count_ended"]
_INSERT = "INSERT INTO events (namespace, at, subject, state, size, items) VALUES (?, ?, ?, ?, ?, ?)"


class EventLog:
    """Gathers the events of one transaction, and what is counted when it ends."""

    __slots__ = ("_at", "_items", "_namespace", "tally")

    def __init__(self, namespace: str, at: int) -> None:
        self._namespace = namespace
        self._at = at
        self._items: dict[tuple[str, str], list[tuple[str, str | None, str | None]]] = {}
        self.tally = Tally()

    def job(self, state: str, id: str, type: str, queue: str) -> None:
        """A job came to a state."""
        self._items.setdefault(("job", state), []).append((id, type, queue))

    def jobs(self, state: str, items: list[tuple[str, str | None, str | None]]) -> None:
        """Many (id, type, queue) came to a state."""
        if items:
            self._items.setdefault(("job", state), []).extend(items)

    def other(self, subject: str, key: str, state: str) -> None:
        """A queue, worker or schedule came to a state."""
        self._items.setdefault((subject, state), []).append((key, None, None))

    def write(self, connection: sqlite3.Connection) -> None:
        """Store what was gathered, the counters of workflows too."""
        for (subject, state), items in self._items.items():
            text = json_text(items)
            connection.execute(_INSERT, (self._namespace, self._at, subject, state, len(text), text))
        self._items = {}
        _COUNT.run(connection, (self._namespace, self._at), self.tally.take())
