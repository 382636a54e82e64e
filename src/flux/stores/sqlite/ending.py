"""What the end of an attempt writes, whoever ended it: its worker, the rescuer, a person or the clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from flux.domain import stats
from flux.domain.job import LogLine
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.releasing import release
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value
from flux.stores.standing import Ending, Ledger, Standing

SQL = Statements("finish.sql")


decode_standing = decoder(list[Standing])
_last_logs = decoder(list[tuple[str, int]])


def standing(connection: sqlite3.Connection, namespace: str, ids: Iterable[str]) -> dict[str, Standing]:
    """The live ones of these jobs."""
    text = one_value(connection, SQL["read_standing"], (namespace, json_text(list(ids))))
    return {job.id: job for job in decode_standing(text)}


def end(
    connection: sqlite3.Connection, namespace: str, now: int, endings: Sequence[Ending], events: EventLog
) -> None:
    """Apply endings, and what they release. Each job is live, stands as its ``Standing`` says, and appears once. The
    caller writes the events at the end of his transaction."""
    ledger = Ledger(endings, now, bytes.decode)
    for ending in endings:
        events.job(ending.state, ending.job.id, ending.job.type, ending.job.queue)
    shared = (namespace, now)
    SQL.many["wait_again"].run(connection, (namespace,), ledger.waits)
    SQL.many["insert_attempts"].run(connection, shared, [(row[0], *row) for row in ledger.attempts])
    if ledger.finals:
        SQL.many["move_to_done"].run(connection, shared, ledger.finals)
        connection.execute(SQL["delete_live"], (namespace, json_text([row[0] for row in ledger.finals])))
        SQL.many["count_rollups"].run(
            connection,
            (namespace, stats.slot_of(now)),
            [(*key, count) for key, count in ledger.rollups.items()],
        )
        release(connection, namespace, now, endings, events)


def keep_logs(
    connection: sqlite3.Connection, namespace: str, lines: Sequence[tuple[str, int, Sequence[LogLine]]]
) -> None:
    """Append (job, attempt, lines)."""
    if not lines:
        return
    text = one_value(connection, SQL["last_logs"], (namespace, json_text([job_id for job_id, _, _ in lines])))
    last: dict[str, int] = dict(_last_logs(text))
    rows: list[tuple[Any, ...]] = []
    for job_id, attempt, mine in lines:
        for line in mine:
            last[job_id] += 1
            rows.append((job_id, last[job_id], attempt, line.at, line.level, line.text))
    SQL.many["insert_logs"].run(connection, (namespace,), rows)
