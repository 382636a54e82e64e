"""Reading for people: pages agree with a plain look at every row, and no statement scans a table."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flux.domain.errors import Invalid
from flux.domain.ids import IdSource
from flux.domain.job import FINAL, JobState
from flux.engine.ports import JobFilter
from flux.stores.listing import Lanes, Pool, Source, Walk, plan_listing
from flux.stores.migrations import known_migrations
from flux.stores.pages import id_floor
from flux.stores.sqlite import queues, reading, rows, schedules, searching
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.listing import in_documents
from flux.stores.sqlite.reading import SqliteQueries

START = 1_790_000_000_000_000
S = JobState


def fill(connection: sqlite3.Connection, number: int, seed: int = 1) -> list[dict[str, Any]]:
    """Jobs of all kinds, a third of them live; what was stored, newest first."""
    random = Random(seed)
    clock = [START]
    ids = IdSource(lambda: clock[0], random)
    stored = []
    for index in range(number):
        clock[0] += random.randint(1, 2_000_000)
        live = random.random() < 0.33
        state = random.choice(
            [S.AVAILABLE, S.AVAILABLE, S.SCHEDULED, S.RETRYING, S.RUNNING]
            if live
            else [S.SUCCEEDED, S.SUCCEEDED, S.SUCCEEDED, S.DEAD, S.CANCELLED, S.SKIPPED]
        )
        failed = state in (S.RETRYING, S.DEAD)
        row: dict[str, Any] = {
            "namespace": "default",
            "id": ids.new(),
            "type": random.choice(["echo", "email", "report"]),
            "queue": random.choice(["default", "email", "rare"]),
            "priority": random.randint(1, 10),
            "state": state.value,
            "run_at": clock[0],
            "created_at": clock[0],
            "attempt": 1 if state not in (S.AVAILABLE, S.SCHEDULED) else 0,
            "attempt_limit": 4,
            "max_retries": 3,
            "payload": json.dumps({"to": f"u{index % 7}", "a": {"b": [index % 3, "x"]}, "0": True}),
            "options": json.dumps({"tags": [f"t{index % 5}"]}) if index % 2 else None,
            "schedule_id": f"s{index % 3}" if index % 10 == 0 else None,
            "workflow_id": f"w{index % 4}" if index % 8 == 0 else None,
            "error": json.dumps({"kind": "exception", "message": f"Boom {index % 4}"}) if failed else None,
            "worker_id": f"w{index % 3}" if state is S.RUNNING or not live else None,
            "started_at": clock[0] if state is S.RUNNING or not live else None,
        }
        if not live:
            row |= {"finished_at": clock[0] + 5, "how": "failed" if failed else state.value, "result": "[1]"}
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO {'live' if live else 'done'} ({names}) VALUES ({marks})", row)
        stored.append(row)
    return stored[::-1]


def schema() -> str:
    return "\n".join(migration.up for migration in known_migrations("flux.stores.sqlite"))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    path = str(tmp_path / "flux.db")
    with sqlite3.connect(path) as connection:
        connection.executescript(schema())
    connection.close()
    database = Database(path)
    await database.open()
    yield database
    await database.close()


def expected(stored: list[dict[str, Any]], filter: JobFilter) -> list[str]:
    """What a look at every row finds."""

    def fits(row: dict[str, Any]) -> bool:
        payload = json.loads(row["payload"])
        error = json.loads(row["error"]) if row["error"] else None
        return all(
            (
                not filter.states or row["state"] in filter.states,
                filter.queue in (None, row["queue"]),
                filter.type in (None, row["type"]),
                filter.schedule_id in (None, row["schedule_id"]),
                filter.workflow_id in (None, row["workflow_id"]),
                filter.worker_id in (None, row["worker_id"]),
                filter.tag is None or filter.tag in json.loads(row["options"] or "{}").get("tags", ()),
                filter.error is None or (error and filter.error.lower() in error["message"].lower()),
                filter.created_after is None or row["created_at"] >= filter.created_after,
                filter.created_before is None or row["created_at"] < filter.created_before,
                all(str(at(payload, path)) == value for path, value in filter.payload),
            )
        )

    return [row["id"] for row in stored if fits(row)]


def at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def filters(seed: int, number: int) -> Iterator[JobFilter]:
    random = Random(seed)

    def maybe(*values: Any) -> Any:
        return random.choice(values) if random.random() < 0.25 else None

    for _ in range(number):
        path = maybe("to", "a.b.0")
        yield JobFilter(
            states=tuple(random.sample(list(S), random.randint(1, 4))) if random.random() < 0.5 else (),
            queue=maybe("default", "rare", "none"),
            type=maybe("echo", "email", "none"),
            tag=maybe("t1", "t3", "none"),
            error=maybe("boom 1", "BOOM"),
            worker_id=maybe("w1", "w2"),
            workflow_id=maybe("w0"),
            schedule_id=maybe("s0", "s2"),
            created_after=maybe(START + 100_000_000, START + 300_000_000),
            created_before=maybe(START + 200_000_000),
            payload=() if path is None else ((path, "u3" if path == "to" else "1"),),
        )


async def pages(queries: SqliteQueries, filter: JobFilter, limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await queries.list(filter, limit, cursor, False)
        found += [job.id for job in page.jobs]
        assert len(page.jobs) <= limit
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_pages_agree_with_a_look_at_every_row(database: Database) -> None:
    stored = await database.write(lambda connection: fill(connection, 600))
    queries = SqliteQueries(database)
    for filter in [JobFilter(), *(JobFilter(states=(state,)) for state in S), *filters(7, 200)]:
        assert await pages(queries, filter, 37) == expected(stored, filter), filter


@pytest.mark.parametrize("most", [3, 50])
async def test_a_bounded_search_goes_on_where_it_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    stored = await database.write(lambda connection: fill(connection, 300))
    monkeypatch.setattr(searching, "MOST_CANDIDATES", most)
    monkeypatch.setattr(searching, "_FIRST_LOOK", 2)
    monkeypatch.setattr(searching, "_MOST_LANES", 1)
    queries = SqliteQueries(database)
    for filter in [*(JobFilter(states=(state,)) for state in S), *filters(11, 60)]:
        assert await pages(queries, filter, 10) == expected(stored, filter), filter
    page = await queries.list(JobFilter(tag="none"), 10, None, False)
    assert page.jobs == []
    assert page.next_cursor is not None
    assert page.searched_until is not None
    assert START < page.searched_until <= stored[0]["created_at"]


async def test_a_key_is_found_by_its_own_table(database: Database) -> None:
    stored = await database.write(lambda connection: fill(connection, 20))
    queries = SqliteQueries(database)
    await database.write(
        lambda connection: connection.execute(
            "INSERT INTO idempotency (namespace, key, fingerprint, job_id) VALUES ('default', 'k', 'f', ?)",
            (stored[4]["id"],),
        )
    )
    assert await pages(queries, JobFilter(key="k"), 5) == [stored[4]["id"]]
    assert await pages(queries, JobFilter(key="k", type="none"), 5) == []
    assert await pages(queries, JobFilter(key="other"), 5) == []


@pytest.mark.parametrize(
    "cursor", ["", "x", "a" * 22, "é" * 22, "-" * 22, "AAAAAAAAAAAAAAAAAAAAAA==", "A" * 500, "A" * 21 + "!"]
)
async def test_a_bad_cursor_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        await SqliteQueries(database).list(JobFilter(), 10, cursor, False)
    assert refused.value.errors[0].field == "cursor"


async def test_a_bad_path_is_refused(database: Database) -> None:
    for path in ("", "a..b", 'a"b', "a\\b", "x" * 501):
        with pytest.raises(Invalid):
            await SqliteQueries(database).list(JobFilter(payload=((path, "1"),)), 10, None, False)


async def test_a_name_of_digits_is_a_name_too(database: Database) -> None:
    stored = await database.write(lambda connection: fill(connection, 10))
    queries = SqliteQueries(database)
    assert await pages(queries, JobFilter(payload=(("0", "true"),)), 50) == [row["id"] for row in stored]


async def test_a_job_is_read_with_all_its_attempts(database: Database) -> None:
    stored = await database.write(lambda connection: fill(connection, 200))
    queries = SqliteQueries(database)
    done = next(row for row in stored if row["state"] == "dead")
    running = next(row for row in stored if row["state"] == "running")
    waiting = next(row for row in stored if row["state"] == "available")
    await database.write(
        lambda connection: connection.execute(
            """INSERT INTO attempts (namespace, job_id, sequence, number, worker_id, started_at, finished_at,
            outcome, error) VALUES ('default', ?, 1, 1, 'w9', 5, 6, 'timeout', '{"kind":"timeout","message":"m"}')
            """,
            (done["id"],),
        )
    )
    job = await queries.get(done["id"])
    assert job is not None
    assert job.attempts is not None
    assert [(one.number, one.worker_id, one.outcome) for one in job.attempts] == [
        (1, "w9", "timeout"),
        (1, done["worker_id"], "failed"),
    ]
    assert job.attempts[0].error is not None
    assert job.payload == done["payload"].encode()
    assert job.result == b"[1]"
    (attempt,) = await queries.attempts(running["id"])
    assert (attempt.outcome, attempt.finished_at) == (None, None)
    assert await queries.attempts(waiting["id"]) == []
    assert await queries.get("00000000-0000-7000-8000-000000000000") is None
    lean = await queries.list(JobFilter(), 5, None, False)
    assert {(one.payload, one.attempts) for one in lean.jobs} == {(None, None)}
    full = await queries.list(JobFilter(), 60, None, True)
    assert len(full.jobs) == 60
    assert all(one.payload and one.attempts is not None for one in full.jobs)


async def test_states_of_many(database: Database) -> None:
    stored = await database.write(lambda connection: fill(connection, 50))
    asked = [row["id"] for row in stored] + ["nobody"]
    assert await SqliteQueries(database).states(asked) == {row["id"]: S(row["state"]) for row in stored}


async def test_events_go_on_after_an_id(database: Database) -> None:
    queries = SqliteQueries(database)
    assert await queries.events(None, 10) == []

    def write(connection: sqlite3.Connection) -> None:
        for sequence in range(3):
            items = json.dumps([[f"j{sequence}{index}", "echo", "default"] for index in range(4)])
            connection.execute(
                "INSERT INTO events (namespace, at, subject, state, size, items) VALUES ('default', 5, 'job', "
                "'available', ?, ?)",
                (len(items), items),
            )

    await database.write(write)
    every: list[str] = []
    after = "0.0"
    while events := await queries.events(after, 3):
        every += [event.key for event in events]
        after = events[-1].id
    assert every == [f"j{sequence}{index}" for sequence in range(3) for index in range(4)]
    (newest,) = await queries.events(None, 10)
    assert (newest.key, newest.id) == ("j23", "3.3")
    for bad in ("", "x", "1", "1.x", "-1.0", "1.1.1"):
        with pytest.raises(Invalid):
            await queries.events(bad, 3)


async def test_numbers_over_time_are_added_up_by_steps(database: Database) -> None:
    def write(connection: sqlite3.Connection) -> None:
        for slot in range(0, 60, 10):
            connection.execute(
                "INSERT INTO rollups VALUES ('default', ?, 'q', 't', 'succeeded', '', 4, 5, 2)", (slot,)
            )
        for slot in range(60):
            connection.execute(
                "INSERT INTO depths VALUES ('default', ?, 'q', 'available', ?, NULL)", (slot, slot)
            )

    await database.write(write)
    queries = SqliteQueries(database)
    assert [(row.slot, row.count) for row in await queries.rollups(10, 30)] == [(0, 4), (30, 6)]
    assert len(await queries.rollups(0)) == 6
    assert [row.slot for row in await queries.rollups(10, 1, 30)] == [10, 20]
    assert [(slot, depth) for slot, _, _, depth in await queries.depths(10, 30)] == [(29, 29), (59, 59)]
    assert len(await queries.depths(0)) == 60


def test_the_floor_of_an_instant_lies_between_its_ids() -> None:
    random = Random(3)
    for _ in range(2_000):
        now = random.randint(0, 4_000_000_000_000_000)
        id = IdSource(lambda now=now: now, random).new()  # type: ignore[misc]
        assert id_floor(now) <= id < id_floor(now + 1)


# --- plans --------------------------------------------------------------------------------------------------------


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    every = [JobFilter(), *(JobFilter(states=(state,)) for state in S), *filters(5, 150)]
    every += [JobFilter(states=tuple(S)), JobFilter(key="k"), JobFilter(states=tuple(FINAL), queue="email")]
    for filter in every:
        listing = plan_listing(filter, in_documents)
        bound = listing.values | {"key_id": "", "low": listing.low, "high": listing.high, "chunk": 9}
        bound |= {"want": 9, "most": 9, "some": "[]", "after": "", "lane0": "", "lane1": "", "lane2": ""}
        for source in listing.sources:
            for sql in texts(source):
                yield sql, bound
    for text in (rows.select_jobs(True), rows.select_jobs(False), reading._STATES):
        yield text, {"ids": "[]"}
    yield reading._LOGS, {"job_id": "", "after": 0, "limit": 1}
    yield reading._WORKERS, {"now": 0, "since": 0, "most": 1, "running": 1}
    yield reading._ROLLUPS, {"since": 0, "step": 1, "until": 1}
    yield reading._DEPTHS, {"since": 0, "step": 1}
    yield reading._NEWEST_EVENT, {}
    yield reading._EVENTS, {"sequence": 0, "limit": 1}
    yield queues._LIST, {"most": 1}
    yield queues._DEPTHS, {}


def texts(source: Source) -> Iterator[str]:
    if isinstance(source, Walk):
        yield searching.look_sql(source) if source.checks else searching.take_sql(source)
    elif isinstance(source, Pool):
        yield from (searching.pool_count_sql(source), searching.pool_sql(source))
        yield from texts(source.otherwise)
    else:
        assert isinstance(source, Lanes)
        yield from (searching.newest_of_lane_sql(source), searching.pick_sql(source))
        for depth in range(len(source.columns)):
            yield from (searching.next_value_sql(source, depth, after) for after in (False, True))
        yield from texts(source.otherwise)


def test_no_statement_scans_a_table() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema())
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    positional = [(schedules._PENDING, 2), (schedules._OCCURRENCES, 3), (schedules._LIST, 3)]
    every = [(sql, bound | {"namespace": "default"}) for sql, bound in statements()]
    plans = [(sql, connection.execute(f"EXPLAIN QUERY PLAN {sql}", bound).fetchall()) for sql, bound in every]
    plans += [
        (sql, connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("",) * count).fetchall())
        for sql, count in positional
    ]
    assert len(plans) > 100
    for sql, plan in plans:
        # By the aliases that the statements give them; ``c`` is also the name of a bounded look.
        named = tables | {"j", "p", "d", "o", "a"} | ({"c"} if "JOIN live AS c" in sql else set())
        for *_, detail in plan:
            kind, _, rest = detail.partition(" ")
            # The newest event is the first row of a scan from the end, which stops there.
            if kind == "SCAN" and not (rest == "events" and "LIMIT 1" in sql):
                assert rest.split()[0] not in named, f"{detail}\n{sql}"
    connection.close()
