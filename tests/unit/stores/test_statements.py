"""Every statement of the store goes by a key or an index: one that scans falls over at a million rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files

import pytest

from flux.stores.sqlite import migrating
from flux.stores.sqlite.sql import Many, Statements

FILES = (
    "insert.sql",
    "claim.sql",
    "finish.sql",
    "release.sql",
    "workflows.sql",
    "edits.sql",
    "leases.sql",
    "duties.sql",
    "prune.sql",
)
TABLES = (
    "live",
    "done",
    "idempotency",
    "uniqueness",
    "attempts",
    "progress",
    "logs",
    "rollups",
    "occurrences",
    "workflows",
    "steps",
    "definition_steps",
    "definition_edges",
)

# Walks along an index on purpose: what they count is as long as what they walk, or they stop early.
WALKS = {
    "depth_due",
    "depth_running",
    "count_done",
    "size_of_events",
    "lost",
    "next_due",
    "previous_occurrences",
}


def statements() -> list[tuple[str, str, str]]:
    found = []
    for file in FILES:
        loaded = Statements(file)
        found += [(file, name, text) for name, text in loaded.one.items()]
        found += [(file, name, many.explained()) for name, many in loaded.many.items()]
    return found


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrating.migrate(connection, None, 0)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, text: str) -> list[str]:
    number = max((int(digits) for digits in re.findall(r"\?(\d+)", text)), default=0)
    rows = connection.execute("EXPLAIN QUERY PLAN " + text, [None] * number).fetchall()
    return [row[3] for row in rows]


@pytest.mark.parametrize(
    ("file", "name", "text"), statements(), ids=lambda value: value if "\n" not in value else ""
)
def test_no_statement_scans(connection: sqlite3.Connection, file: str, name: str, text: str) -> None:
    aliases = {table: table for table in TABLES}
    for table, alias in re.findall(r"(?:FROM|JOIN)\s+(\w+)\s+(?:AS\s+)?(\w)\b", text):
        aliases[alias] = table
    for step in plan(connection, text):
        scan = re.match(r"SCAN (\w+)", step)
        if scan and "VIRTUAL TABLE" not in step and name not in WALKS:
            assert aliases.get(scan[1]) not in TABLES, step
        search = re.match(r"SEARCH (\w+) USING (?:COVERING )?(?:INDEX (\w+)|PRIMARY KEY) \((.*)\)", step)
        if search and aliases.get(search[1]) in ("live", "done") and search[2] is None:
            # The namespace alone is the whole table.
            assert search[3] == "namespace=? AND id=?", step
        if search and aliases.get(search[1]) in ("workflows", "steps") and search[2] is None:
            assert search[3] != "namespace=?", step


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("claim.sql", "read_claimed"),
        ("claim.sql", "mark_running"),
        ("claim.sql", "hinted"),
        ("finish.sql", "read_standing"),
        ("finish.sql", "move_to_done"),
        ("finish.sql", "wait_again"),
        ("finish.sql", "delete_live"),
        ("duties.sql", "promote"),
    ],
)
def test_hot_statements_find_jobs_by_primary_key(
    connection: sqlite3.Connection, file: str, name: str
) -> None:
    loaded = Statements(file)
    text = loaded.many[name].explained() if name in loaded.many else loaded[name]
    steps = [step for step in plan(connection, text) if re.match(r"SEARCH (l|live) ", step)]
    assert steps
    assert all("USING PRIMARY KEY (namespace=? AND id=?)" in step for step in steps), steps


@pytest.mark.parametrize(
    ("file", "name", "index"),
    [
        ("claim.sql", "lanes_everywhere", "live_available"),
        ("claim.sql", "lanes_named", "live_available"),
        ("claim.sql", "oldest_of_lane", "live_available"),
        ("claim.sql", "oldest_of_lanes", "live_available"),
        ("duties.sql", "depth_available", "live_available"),
        ("duties.sql", "due", "live_due"),
        ("duties.sql", "depth_due", "live_due"),
        ("duties.sql", "lost", "live_running"),
        ("leases.sql", "read_orders", "live_running"),
        ("prune.sql", "aged", "done_finished"),
        ("prune.sql", "oldest_of_state", "done_finished"),
    ],
)
def test_choosing_never_touches_the_rows(
    connection: sqlite3.Connection, file: str, name: str, index: str
) -> None:
    steps = [step for step in plan(connection, Statements(file)[name]) if index in step]
    assert steps
    assert all(f"COVERING INDEX {index}" in step for step in steps), steps


def test_every_file_of_statements_is_read() -> None:
    folder = files("flux.stores.sqlite").joinpath("queries")
    ours = {file.name for file in folder.iterdir() if file.name.endswith(".sql")}
    assert set(FILES) <= ours


def test_many_rows_take_few_steps() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a, b, c)")
    steps: list[str] = []
    connection.set_trace_callback(steps.append)
    many = Many("INSERT INTO t (a, b, c) VALUES {rows}", "(?1, *, *)")
    for number in (0, 1, 7, 8, 63, 64, 65, 511, 512, 513, 1000):
        connection.execute("DELETE FROM t")
        steps.clear()
        many.run(connection, ("x",), [(n, -n) for n in range(number)])
        assert len(steps) <= 1 + 7 + 7 + 7
        stored = connection.execute("SELECT a, b, c FROM t ORDER BY rowid").fetchall()
        assert stored == [("x", n, -n) for n in range(number)]
    connection.close()
