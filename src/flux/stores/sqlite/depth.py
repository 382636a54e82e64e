"""How deep queues are: counted along indexes, and the less often the longer that takes."""

from __future__ import annotations

import sqlite3

from flux.stores.sqlite.claiming import find_lanes
from flux.stores.sqlite.promoting import SQL
from flux.stores.sqlite.sql import decoder, one_value

SECOND = 1_000_000
ROWS_A_SECOND = 500_000
"""A backlog of so many available jobs is counted each second (45 ms), one of four times as many every fourth."""

STANDS_FOR = 25 * SECOND
"""A sample like the last one is not written again for so long: a store at rest stays at rest."""

Row = tuple[str, str, int, int | None]
"""Queue, state, depth and since when the oldest waits."""

_by_queue = decoder(list[tuple[str, int]])
_by_state = decoder(list[tuple[str, str, int]])


def sample(connection: sqlite3.Connection, namespace: str, now: int) -> list[Row] | None:
    """Count, or None when the last count is good for a while yet."""
    last = connection.execute(SQL["last_depth"], (namespace,)).fetchone()
    if last is not None and 0 <= now - last[0] < SECOND * (last[1] // ROWS_A_SECOND):
        return None
    oldest: dict[str, int] = {}
    for lane in find_lanes(connection, namespace):
        since = one_value(connection, SQL["oldest_available"], (namespace, *lane))
        if since is not None:
            queue = lane[0]
            oldest[queue] = min(since, oldest.get(queue, since))
    rows: list[Row] = []
    for queue, since in oldest.items():
        rows.append(
            (queue, "available", one_value(connection, SQL["depth_available"], (namespace, queue)), since)
        )
    for queue, state, count in _by_state(one_value(connection, SQL["depth_due"], (namespace,))):
        rows.append((queue, state, count, None))
    for queue, count in _by_queue(one_value(connection, SQL["depth_running"], (namespace,))):
        rows.append((queue, "running", count, None))
    known = {row[0] for row in rows}
    # A queue that is empty has a depth too, or its last one would seem to last.
    for (queue,) in connection.execute(
        "SELECT name FROM queues WHERE namespace = ?", (namespace,)
    ).fetchall():
        if queue not in known:
            rows.append((queue, "available", 0, None))
    return rows


def write(connection: sqlite3.Connection, namespace: str, now: int, rows: list[Row]) -> None:
    """Keep a sample; of two in one second the later one counts."""
    slot = now - now % SECOND
    connection.execute(SQL["clear_depth"], (namespace, slot))
    SQL.many["write_depth"].run(connection, (namespace, slot), rows)
