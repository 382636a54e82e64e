"""Queues, workers and numbers over REST."""

from __future__ import annotations

import asyncio
import re

from flux.engine.context import Context
from tests.integration.api.conftest import JOBS, Rest, echo, fields, handler, problem

QUEUES = "/api/v1/queues"


async def test_a_queue_is_paused_and_resumed(rest: Rest) -> None:
    job = await rest.enqueue(queue="mail")
    paused = await rest.client.post(f"{QUEUES}/mail/pause")
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert paused.json()["paused_at"]
    waiting = (await rest.client.get(f"{JOBS}/{job['id']}")).json()["waiting_for"]
    assert waiting["kind"] == "paused"
    assert waiting["since"].endswith("Z")
    assert (await rest.client.post(f"{QUEUES}/mail/resume")).json()["paused"] is False
    names = [queue["name"] for queue in (await rest.client.get(QUEUES)).json()["queues"]]
    assert names == ["mail"]


async def test_a_job_says_at_once_that_its_queue_was_paused_or_resumed(rest: Rest) -> None:
    async def kind() -> str:
        found: str = (await rest.enqueue(queue="mail"))["waiting_for"]["kind"]
        return found

    assert await kind() != "paused"
    await rest.client.post(f"{QUEUES}/mail/pause")
    assert await kind() == "paused"
    await rest.client.post(f"{QUEUES}/mail/resume")
    assert await kind() != "paused"
    await rest.client.patch(f"{QUEUES}/mail", json={"paused": True})
    assert await kind() == "paused"


async def test_a_queue_exists_by_a_job_or_a_setting(rest: Rest) -> None:
    assert "nowhere" in problem(await rest.client.get(f"{QUEUES}/nowhere"), 404)["detail"]
    job = await rest.enqueue(queue="by-a-job")  # which no scheduler has counted yet
    assert (await rest.client.get(f"{QUEUES}/by-a-job")).json()["name"] == "by-a-job"
    await rest.client.delete(f"{JOBS}/{job['id']}")
    assert (await rest.client.get(f"{QUEUES}/by-a-job")).status_code == 200
    await rest.client.patch(f"{QUEUES}/by-a-setting", json={"max_depth": 9})
    assert (await rest.client.get(f"{QUEUES}/by-a-setting")).json()["max_depth"] == 9


async def test_a_job_of_long_ago_waits_since_it_was_made(rest: Rest) -> None:
    await rest.enqueue(queue="old", type="nobody", run_at="1970-01-01T00:00:00Z")
    async with rest.running(echo):
        waits = None
        while waits is None:  # the scheduler samples each second
            waits = (await rest.client.get(f"{QUEUES}/old")).json()["oldest_wait"]
            await asyncio.sleep(0.05)
    assert waits < 3600


async def test_names_with_slashes(rest: Rest) -> None:
    await rest.enqueue(queue="a/b:c")
    for path in ("a/b:c", "a%2Fb%3Ac"):
        assert (await rest.client.get(f"{QUEUES}/{path}")).json()["name"] == "a/b:c"
        assert (await rest.client.post(f"{QUEUES}/{path}/pause")).json()["paused"] is True
    assert fields(problem(await rest.client.get(f"{QUEUES}/-bad"), 422)) == {"queue"}


async def test_a_bound_is_set_and_lifted(rest: Rest) -> None:
    answer = await rest.client.patch(f"{QUEUES}/q", json={"max_depth": 0})
    assert answer.json()["max_depth"] == 0
    full = await rest.client.post(JOBS, json={"type": "x", "queue": "q"})
    problem(full, 429)
    assert full.headers["retry-after"] == "1"
    assert (await rest.client.patch(f"{QUEUES}/q", json={"max_depth": None})).json()["max_depth"] is None
    for wrong in ({"max_depth": -1}, {"max_depth": "9"}, {"max_depth": 10**30}):
        assert fields(problem(await rest.client.patch(f"{QUEUES}/q", json=wrong), 422)) == {"max_depth"}
    assert fields(problem(await rest.client.patch(f"{QUEUES}/q", json={"speed": 1}), 422)) == {"speed"}
    assert fields(problem(await rest.client.patch(f"{QUEUES}/q", json={}), 422)) == {"body"}


async def test_workers_are_seen_and_drained(rest: Rest) -> None:
    assert (await rest.client.get("/api/v1/workers")).json() == {"workers": []}
    problem(await rest.client.post("/api/v1/workers/nobody/drain"), 404)
    async with rest.running(echo) as worker:
        (seen,) = (await rest.client.get("/api/v1/workers")).json()["workers"]
        assert seen["id"] == worker.id
        assert (seen["state"], seen["types"], seen["slots"]) == ("active", ["echo"], 10)
        answer = await rest.client.post(f"/api/v1/workers/{worker.id}/drain")
        assert (answer.status_code, answer.json()["state"]) == (200, "draining")


async def test_what_is_busy_is_said_at_once(rest: Rest) -> None:
    go = asyncio.Event()

    async def wait(context: Context) -> None:
        await go.wait()

    async def slots(state: str) -> float:
        text = (await rest.client.get("/metrics")).text
        return float(re.search(rf'^flux_worker_slots{{state="{state}"}} (.*)$', text, re.MULTILINE)[1])  # type: ignore[index]

    async with rest.running(handler("wait", wait)):
        jobs = [await rest.enqueue(type="wait") for _ in range(11)]
        while [job["state"] for job in jobs].count("running") < 10:
            jobs = (await rest.client.get(JOBS)).json()["jobs"]
        (waiting,) = [job["waiting_for"] for job in jobs if job["state"] == "available"]
        (worker,) = (await rest.client.get("/api/v1/workers")).json()["workers"]
        assert (worker["busy"], worker["slots"]) == (10, 10)
        running = {job["id"]: job for job in jobs if job["state"] == "running"}
        same = ("id", "type", "queue", "attempt", "started_at")
        assert {job["id"]: job for job in worker["running"]} == {
            id: {name: job[name] for name in same} for id, job in running.items()
        }
        assert (waiting["kind"], waiting["busy"]) == ("slot", 10)
        assert "all 10 slots are busy" in waiting["text"]
        assert (await slots("busy"), await slots("free")) == (10, 0)
        go.set()
        for job in jobs:
            await rest.final(job["id"])
        (worker,) = (await rest.client.get("/api/v1/workers")).json()["workers"]
        assert (worker["busy"], worker["running"]) == (0, [])


async def test_numbers(rest: Rest) -> None:
    async with rest.running(echo):
        for _ in range(3):
            await rest.final((await rest.enqueue(queue="n"))["id"])
        stats = (await rest.client.get("/api/v1/stats")).json()
        assert stats["workers"]["active"] == 1
        queue = (await rest.client.get(f"{QUEUES}/n")).json()
    assert stats["whole"]["finished"] == 3
    assert stats["whole"]["outcomes"] == {"succeeded": 3}
    assert 0 < stats["whole"]["run"]["p50"] < 60
    assert stats["queues"]["n"]["window"]["finished"] == 3
    assert stats["types"]["echo"]["now"]["finished"] == 3
    assert len(stats["points"]) > 50
    assert queue["hour"]["finished"] == 3
    for window in ("24h", "7d"):
        assert (await rest.client.get("/api/v1/stats", params={"window": window})).json()["window"] == window
    assert fields(problem(await rest.client.get("/api/v1/stats", params={"window": "2h"}), 422)) == {"window"}
    assert fields(problem(await rest.client.get("/api/v1/stats", params={"window": ""}), 422)) == {"window"}
