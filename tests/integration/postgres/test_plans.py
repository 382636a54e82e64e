"""The plans of every hot statement, on tables with enough rows: by the right index, and no walk through a table."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flux.domain.duration import HOUR
from flux.domain.ids import IdSource
from flux.domain.job import AttemptOutcome, JobState, NewJob, Outcome
from flux.engine.ports import Demand, JobFilter, NewWorkflow, StoredEdge, StoredStep, WorkerInfo
from flux.stores.listing import Lanes, Source, Walk, plan_listing
from flux.stores.postgres.claiming import SQL as CLAIM
from flux.stores.postgres.claiming import plan_claim
from flux.stores.postgres.clock import SQL as DUTIES
from flux.stores.postgres.creating import SQL as WORKFLOWS
from flux.stores.postgres.database import Database, Place
from flux.stores.postgres.ending import SQL as FINISH
from flux.stores.postgres.inserting import SQL as INSERT
from flux.stores.postgres.inserting import plain_values
from flux.stores.postgres.leases import SQL as LEASES
from flux.stores.postgres.listing import in_documents
from flux.stores.postgres.releasing import SQL as RELEASE
from flux.stores.postgres.rows import SQL as READS
from flux.stores.postgres.searching import lanes_sql, look_at_lanes_sql, look_sql, pool_count_sql, pool_sql
from flux.stores.postgres.sql import Statement
from flux.stores.postgres.store import PostgresStore
from tests.conformance.store.graphs import defined

ROWS = 20_000
TYPES = ("mail", "report", "thumbnail")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """A connection as the store makes them, to a database with many jobs that wait, run, are due and have ended."""
    store = PostgresStore(Place(url=database_url))
    await store.open()
    ids = IdSource(lambda: time.time_ns() // 1000)
    info = WorkerInfo(id="w", host="h", pid=1, version="0", queues="*", types=TYPES, slots=1000)
    await store.leases.register(info, 1_000_000_000)
    for start in range(0, ROWS, 2000):
        jobs = [
            NewJob(id=ids.new(), type=TYPES[n % 3], queue=f"q{n % 2}", delay=HOUR * (n % 5 == 0))
            for n in range(2000)
        ]
        await store.jobs.insert([jobs])
        if start % 4000 == 0:
            claimed = await store.jobs.claim(Demand(worker_id="w", types=TYPES, slots=900))
            ended = [
                Outcome(
                    job_id=job.id,
                    claim_id=job.claim_id,
                    attempt=1,
                    state=JobState.SUCCEEDED,
                    how=AttemptOutcome.SUCCEEDED,
                )
                for job in claimed[:600]
            ]
            await store.jobs.finish("w", ended)
    layers = [StoredStep(name=f"s{n}", type=TYPES[0]) for n in range(200)]
    shape = defined(layers, [StoredEdge(n // 4, n, 1) for n in range(4, 200)])
    steps = [[ids.new() for _ in layers] for _ in range(100)]
    runs = [NewWorkflow(id=ids.new(), name="w", definition=shape, job_ids=each) for each in steps]
    await store.workflows.create(runs)
    database = Database(Place(url=database_url))
    connection = await database.connect()
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()
    await store.close()


async def plan_of(connection: Any, statement: Statement, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a statement's plan."""
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement.text}", *statement.bind(values))
    [plan] = json.loads(text)
    return list(nodes(plan["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def assert_by_index(
    connection: Any, statement: Statement, values: dict[str, Any], *indexes: str
) -> None:
    """No walk through a table of jobs, and these indexes of ``live`` and no others."""
    found = await plan_of(connection, statement, values)
    walks = [
        node["Relation Name"]
        for node in found
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] not in ("done_default",)
    ]
    assert walks == [], f"{statement.name} walks through {walks}"
    used = {
        node["Index Name"]
        for node in found
        if node.get("Index Name", "").startswith("live_") and node["Node Type"] != "ModifyTable"
    }
    assert used == set(indexes), f"{statement.name} goes by {used}"


async def assert_walks_by_key(
    connection: Any, statement: Statement, values: dict[str, Any], *indexes: str
) -> None:
    """No walk through a table, nothing hashed or merged from a whole one, and these indexes at least."""
    found = await plan_of(connection, statement, values)
    walks = [
        node["Node Type"] for node in found if node["Node Type"] in ("Seq Scan", "Merge Join", "Hash Join")
    ]
    assert walks == [], f"{statement.name} has {walks}"
    used = {node["Index Name"] for node in found if "Index Name" in node}
    assert used >= set(indexes), f"{statement.name} goes by {used}"


async def some_ids(connection: Any, state: str, count: int) -> list[str]:
    rows = await connection.fetch(
        "SELECT id FROM flux.live WHERE state = $1 ORDER BY id LIMIT $2", state, count
    )
    assert len(rows) == count
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize("size", [1, 1000])
async def test_hot_statements_go_by_one_index_each(connection: Any, size: int) -> None:
    now: dict[str, Any] = {"namespace": "default", "now": None}
    demand = Demand(worker_id="w", types=TYPES, slots=size)
    await assert_by_index(connection, *plan_claim("default", None, demand, 1), "live_available")
    limited = Demand(worker_id="w", types=TYPES, slots=size + 1, queues={"q0": 1}, every_queue=True)
    await assert_by_index(connection, *plan_claim("default", None, limited, 1), "live_available")
    named = Demand(worker_id="w", types=TYPES, slots=size, queues={"q0": size}, every_queue=False)
    await assert_by_index(connection, *plan_claim("default", None, named, 1), "live_available")
    hints = tuple(await some_ids(connection, "available", size))
    hinted = Demand(worker_id="w", types=TYPES, slots=size, hints=hints)
    await assert_by_index(connection, *plan_claim("default", None, hinted, 1), "live_pkey")

    running = await some_ids(connection, "running", size)
    ended = {"ids": running, "claims": [1] * size, "results": [b"1"] * size}
    for steps in (False, True):
        values = now | ended | {"steps": steps}
        await assert_by_index(connection, FINISH["finish_succeeded"], values, "live_pkey")
    await assert_by_index(connection, FINISH["lock_standing"], now | {"ids": running}, "live_pkey")
    moved = {"states": ["dead"] * size, "hows": ["failed"] * size, "results": [None] * size}
    moved |= {"errors": [b"{}"] * size, "ids": running}
    await assert_by_index(connection, FINISH["move_to_done"], now | moved, "live_pkey")
    waits = {
        "states": ["retrying"] * size,
        "run_ats": [1] * size,
        "errors": [b"{}"] * size,
        "backs": [0] * size,
    }
    await assert_by_index(connection, FINISH["wait_again"], now | waits | {"ids": running}, "live_pkey")
    await assert_by_index(connection, CLAIM["held"], now | {"worker_id": "w"}, "live_running")
    await assert_by_index(connection, CLAIM["all_lanes"], now, "live_available")
    await assert_by_index(connection, READS["workers"], now | {"running": 100, "limit": 10}, "live_running")

    jobs = [NewJob(id=id, type="mail") for id in hints]
    await assert_by_index(connection, INSERT["insert_plain"], now | plain_values(jobs) | {"unseen": []})


async def test_what_the_leader_asks_again_and_again_goes_by_index(connection: Any) -> None:
    now: dict[str, Any] = {"namespace": "default", "now": 2**60}
    due = now | {"limit": 1000}
    await assert_by_index(connection, DUTIES["lock_due"], due, "live_due")
    await assert_by_index(connection, DUTIES["lock_expired"], due, "live_expiring")
    await assert_by_index(connection, DUTIES["lost"], due | {"grace": 1}, "live_running")
    scheduled = await some_ids(connection, "scheduled", 1000)
    await assert_by_index(connection, DUTIES["promote"], now | {"ids": scheduled}, "live_pkey")
    await assert_by_index(connection, DUTIES["lanes"], now, "live_available")
    lane = {"queue": "q0", "priority": 5, "after": scheduled[0], "limit": 10_000}
    await assert_by_index(connection, DUTIES["offerable"], now | lane, "live_available")
    await assert_by_index(connection, LEASES["orders"], now | {"id": "w"}, "live_cancels")


@pytest.mark.parametrize("size", [1, 1000])
async def test_the_ends_of_steps_go_by_keys(connection: Any, size: int) -> None:
    now: dict[str, Any] = {"namespace": "default", "now": 2**60}
    rows = await connection.fetch(
        "SELECT workflow_id, number FROM flux.steps WHERE number < 10 ORDER BY 1, 2 LIMIT $1", size
    )
    ended = now | {"workflows": [row[0] for row in rows], "numbers": [row[1] for row in rows]}
    ends = ended | {"states": ["succeeded"] * size, "bits": [1] * size}
    keys = ("workflows_pkey", "definition_edges_pkey", "steps_pkey", "definition_steps_pkey")
    await assert_walks_by_key(connection, RELEASE["release"], ends, *keys)
    await assert_walks_by_key(
        connection, RELEASE["failures"], ended, "workflows_pkey", "definition_steps_pkey"
    )
    counts = now | {"ids": ended["workflows"][:1], "ended": [size], "failures": [0]}
    await assert_walks_by_key(connection, RELEASE["count_ended"], counts, "workflows_pkey")
    run = now | {"id": rows[0][0], "after": -1, "states": ["live"], "limit": 100, "numbers": [1, 2]}
    await assert_walks_by_key(connection, WORKFLOWS["cancel_steps"], run, "steps_pkey")
    await assert_walks_by_key(connection, WORKFLOWS["live_of_workflow"], run, "live_workflow")
    await assert_walks_by_key(connection, WORKFLOWS["read_some_steps"], run, "steps_pkey")
    await assert_walks_by_key(connection, WORKFLOWS["ending_workflows"], run, "workflows_ending")


def texts(source: Source) -> list[str]:
    if isinstance(source, Walk):
        return [look_sql(source)]
    if isinstance(source, Lanes):
        return [lanes_sql(source), look_at_lanes_sql(source), *texts(source.otherwise)]
    return [pool_count_sql(source), pool_sql(source), *texts(source.otherwise)]


@pytest.mark.parametrize(
    "filter",
    [
        JobFilter(),
        *(JobFilter(states=(state,)) for state in JobState),
        JobFilter(queue="q1"),
        JobFilter(type="mail", tag="x"),
        JobFilter(states=(JobState.DEAD, JobState.CANCELLED), queue="q1", type="mail", error="TimeoutError"),
        JobFilter(payload=(("a.b", "1"),)),
        JobFilter(worker_id="w"),
        JobFilter(schedule_id="s"),
    ],
    ids=repr,
)
async def test_lists_go_by_indexes(connection: Any, filter: JobFilter) -> None:
    listing = plan_listing(filter, in_documents)
    low, high = (f"{digit * 8}-{digit * 4}-7000-8000-{digit * 12}" for digit in "0f")
    values = listing.values | {"namespace": "default", "low": low, "high": high, "below": high, "want": 50}
    values |= {"most": 1000, "chunk": 50, "first": "succeeded"}
    for source in listing.sources:
        if isinstance(source, Lanes):
            lane = {"priority": 5, "state": "succeeded"}
            values |= {f"lane{n}": [lane.get(column, "q1")] for n, column in enumerate(source.columns)}
        for text in texts(source):
            found = await plan_of(connection, Statement("list", text), values)
            walks = [node["Relation Name"] for node in found if node["Node Type"] == "Seq Scan"]
            assert walks == [], text
