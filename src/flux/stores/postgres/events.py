"""Events: what a transaction changed, one row for each subject, state, type and queue."""

from __future__ import annotations

from collections.abc import Iterable

from flux.engine.ports import Event
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import Statements
from flux.stores.releasing import Tally

SQL = Statements("events.sql")
_COUNT = Statements("release.sql")["count_ended"]

_Group = tuple[str, str, str | None, str | None, str | None]


class EventLog:
    """Gathers the events of one transaction, and what is counted when it ends."""

    __slots__ = ("_groups", "_namespace", "at", "tally")

    def __init__(self, namespace: str, at: int) -> None:
        self._namespace = namespace
        self.at = at
        self._groups: dict[_Group, list[str]] = {}
        self.tally = Tally()

    def job(self, state: str, id: str, type: str, queue: str) -> None:
        """A job came to a state."""
        self._groups.setdefault(("job", state, type, queue, None), []).append(id)

    def jobs(self, state: str, items: Iterable[tuple[str, str, str]]) -> None:
        """Many (id, type, queue) came to a state."""
        for id, type, queue in items:
            self.job(state, id, type, queue)

    def other(self, subject: str, key: str, state: str) -> None:
        """A queue, worker or schedule came to a state."""
        self._groups.setdefault((subject, state, None, None, key), [])

    async def write(self, session: Session) -> None:
        """Store what was gathered; the counters of workflows last, which are hot."""
        await self._write_events(session)
        if counts := self.tally.take():
            ids, ended, failures = zip(*counts, strict=True)
            values = {"ids": ids, "ended": ended, "failures": failures}
            await session.run(_COUNT, namespace=self._namespace, now=self.at, **values)

    async def _write_events(self, session: Session) -> None:
        if not self._groups:
            return
        groups, self._groups = self._groups, {}
        subjects, states, types, queues, keys = zip(*groups, strict=True)
        await session.run(
            SQL["write_events"],
            namespace=self._namespace,
            at=self.at,
            subjects=subjects,
            states=states,
            types=types,
            queues=queues,
            keys=keys,
            groups=[number for number, ids in enumerate(groups.values(), 1) for _ in ids],
            ids=[id for ids in groups.values() for id in ids],
        )


def single_events(rows: Iterable[Record], batch: int = -1, index: int = -1) -> list[Event]:
    """The single events of rows, those up to ``batch.index`` left out."""
    return [
        Event(
            f"{row['batch']}.{number}",
            row["at"],
            row["subject"],
            str(key),
            row["state"],
            row["type"],
            row["queue"],
        )
        for row in rows
        for number, key in enumerate([row["key"]] if row["ids"] is None else row["ids"])
        if row["batch"] != batch or number > index
    ]
