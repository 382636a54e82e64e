"""Jobs over REST: submit, read, change, cancel, retry, copy, wait."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from flux.engine.context import Context
from tests.integration.api.conftest import JOBS, Rest, echo, fail, fields, handler, problem

OUT = {
    "id",
    "type",
    "queue",
    "state",
    "priority",
    "attempt",
    "max_retries",
    "created_at",
    "run_at",
    "started_at",
    "finished_at",
    "expires_at",
    "timeout",
    "worker_id",
    "payload",
    "result",
    "error",
    "progress",
    "heartbeat_at",
    "checkpoint",
    "cancel_requested",
    "waiting_for",
    "backoff",
    "idempotency_key",
    "unique",
    "tags",
    "headers",
    "schedule_id",
    "schedule",
    "cron",
    "timezone",
    "workflow_id",
    "step",
    "copied_from",
    "attempts",
}


async def test_a_job_is_accepted_with_all_its_fields(rest: Rest) -> None:
    asked = {
        "type": "email",
        "payload": {"to": "user@example.com", "n": 1.50},
        "queue": "mail/out",
        "priority": 9,
        "delay": "30s",
        "timeout": "5m",
        "max_retries": 7,
        "backoff": {"kind": "constant", "base": "2s"},
        "idempotency_key": "k1",
        "tags": ["a", "b"],
        "headers": {"tenant": "7"},
        "unique": {"by": ["type", "payload"], "period": "1h"},
        "expires_in": "1h",
    }
    answer = await rest.client.post(JOBS, json=asked)
    assert answer.status_code == 201
    job = answer.json()
    assert set(job) == OUT
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name in (
        "type",
        "payload",
        "queue",
        "priority",
        "timeout",
        "max_retries",
        "idempotency_key",
        "tags",
        "headers",
    ):
        assert job[name] == asked[name], name
    assert job["state"] == "scheduled"
    assert job["attempt"] == 0
    assert job["attempts"] == []
    assert job["unique"] == asked["unique"]
    assert job["backoff"]["kind"] == "constant"
    created, run_at = (datetime.fromisoformat(job[name]) for name in ("created_at", "run_at"))
    assert (run_at - created).total_seconds() == 30
    assert job["waiting_for"]["kind"] == "time"
    assert datetime.fromisoformat(job["waiting_for"]["until"]) == run_at
    read = await rest.client.get(answer.headers["location"])
    assert {**read.json(), "waiting_for": None} == {**job, "waiting_for": None}


async def test_the_payload_is_kept_byte_by_byte(rest: Rest) -> None:
    text = '{"type": "echo", "payload": {"b" : 1e2,  "a":[1.0, "\\u00e9é"], "big": 123456789012345678901234567890}}'
    answer = await rest.client.post(JOBS, content=text.encode(), headers={"content-type": "application/json"})
    kept = '{"b" : 1e2,  "a":[1.0, "\\u00e9é"], "big": 123456789012345678901234567890}'
    assert f'"payload":{kept},'.encode() in answer.content
    assert f'"payload":{kept},'.encode() in (await rest.client.get(answer.headers["location"])).content


async def test_only_a_type_is_required(rest: Rest) -> None:
    job = await rest.enqueue()
    assert (job["queue"], job["priority"], job["max_retries"], job["payload"]) == ("default", 5, 3, {})
    assert job["state"] == "available"
    assert job["waiting_for"]["kind"] == "no_worker"


async def test_an_idempotency_key_replays(rest: Rest) -> None:
    first = await rest.enqueue(idempotency_key="k")
    again = await rest.client.post(JOBS, json={"type": "echo", "idempotency_key": "k"})
    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == f"{JOBS}/{first['id']}"
    assert again.json()["id"] == first["id"]
    by_header = await rest.client.post(JOBS, json={"type": "echo"}, headers={"Idempotency-Key": "k"})
    assert by_header.json()["id"] == first["id"]
    other = await rest.client.post(JOBS, json={"type": "other", "idempotency_key": "k"})
    problem(other, 409)
    both = await rest.client.post(
        JOBS, json={"type": "echo", "idempotency_key": "k"}, headers={"Idempotency-Key": "l"}
    )
    assert fields(problem(both, 422)) == {"idempotency_key"}


async def test_many_callers_with_one_key_get_one_job(rest: Rest) -> None:
    body = {"type": "echo", "idempotency_key": "same"}
    answers = await asyncio.gather(*(rest.client.post(JOBS, json=body) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_unique_job_stands_for_its_duplicates(rest: Rest) -> None:
    body = {"type": "echo", "payload": 1, "unique": {"by": ["type", "payload"]}}
    first = await rest.client.post(JOBS, json=body)
    second = await rest.client.post(JOBS, json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.headers["unique-duplicate"] == "true"
    assert "idempotent-replayed" not in second.headers
    assert second.json()["id"] == first.json()["id"]


async def test_cron_makes_a_schedule_and_answers_its_first_occurrence(rest: Rest) -> None:
    body = {"type": "echo", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "schedule": "nightly"}
    answer = await rest.client.post(JOBS, json=body)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert job["state"] == "scheduled"
    schedule = (await rest.client.get("/api/v1/schedules/nightly")).json()
    assert schedule["id"] == job["schedule_id"]
    assert schedule["next_job_id"] == job["id"]
    again = await rest.client.post(JOBS, json=body)
    assert (again.status_code, again.json()["id"]) == (200, job["id"])


async def test_a_job_runs_and_shows_its_attempt_result_and_logs(rest: Rest) -> None:
    async with rest.running(echo) as worker:
        job = await rest.final((await rest.enqueue())["id"])
        assert job["state"] == "succeeded"
        assert job["result"] == {"done": True}
        assert job["waiting_for"] is None
        (attempt,) = job["attempts"]
        assert set(attempt) == {"number", "worker_id", "started_at", "finished_at", "outcome", "error"}
        assert attempt["outcome"] == "succeeded"
        assert attempt["number"] == 1
        assert attempt["worker_id"] == worker.id == job["worker_id"]
        logs = (await rest.client.get(f"{JOBS}/{job['id']}/logs")).json()
        assert [(line["attempt"], line["level"].lower(), line["text"]) for line in logs["logs"]] == [
            (1, "info", "echoing")
        ]
        assert logs["next_cursor"] is None


async def test_a_dead_job_says_why_and_can_be_retried(rest: Rest) -> None:
    async with rest.running(fail):
        job = await rest.final((await rest.enqueue(type="fail", max_retries=0))["id"])
        assert job["state"] == "dead"
        assert job["error"]["kind"] == "exception"
        assert "never works" in job["error"]["message"]
        assert "ValueError" in job["error"]["traceback"]
        assert job["attempts"][0]["outcome"] == "failed"
    again = await rest.client.post(f"{JOBS}/{job['id']}/retry")
    assert again.status_code == 200
    assert (again.json()["state"], again.json()["attempt"]) == ("available", 1)
    problem(await rest.client.post(f"{JOBS}/{job['id']}/retry"), 409)


async def test_cancel(rest: Rest) -> None:
    job = await rest.enqueue()
    answer = await rest.client.delete(f"{JOBS}/{job['id']}", params={"reason": "ordered twice"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "cancelled"
    assert answer.json()["error"] == {"kind": "cancelled", "message": "ordered twice", "traceback": None}
    problem(await rest.client.delete(f"{JOBS}/{job['id']}"), 409)
    other = await rest.enqueue()
    by_body = await rest.client.request("DELETE", f"{JOBS}/{other['id']}", json={"reason": "by body"})
    assert by_body.json()["error"]["message"] == "by body"
    retried = await rest.client.post(f"{JOBS}/{other['id']}/retry")
    assert retried.json()["state"] == "available"


async def test_change(rest: Rest) -> None:
    job = await rest.enqueue(delay="1h")
    edits = {
        "payload": {"new": 1},
        "queue": "q",
        "priority": 10,
        "timeout": "1m",
        "max_retries": 0,
        "tags": ["t"],
    }
    answer = await rest.client.patch(f"{JOBS}/{job['id']}", json=edits)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in edits} == edits
    assert fields(problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={"priority": 11}), 422)) == {
        "priority"
    }
    assert fields(problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={"prio": 1}), 422)) == {"prio"}
    assert fields(problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={}), 422)) == {"body"}
    await rest.client.delete(f"{JOBS}/{job['id']}")
    problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={"priority": 1}), 409)


async def test_rerun(rest: Rest) -> None:
    job = await rest.enqueue(payload={"a": 1}, idempotency_key="k")
    problem(await rest.client.post(f"{JOBS}/{job['id']}/rerun"), 409)
    await rest.client.delete(f"{JOBS}/{job['id']}")
    answer = await rest.client.post(f"{JOBS}/{job['id']}/rerun", json={"priority": 8})
    assert answer.status_code == 201
    copy = answer.json()
    assert answer.headers["location"] == f"{JOBS}/{copy['id']}"
    assert (copy["copied_from"], copy["payload"], copy["priority"]) == (job["id"], {"a": 1}, 8)
    assert (await rest.client.post(f"{JOBS}/{job['id']}/rerun")).status_code == 201


async def test_waiting_ends_with_the_job_or_the_timeout(rest: Rest) -> None:
    job = await rest.enqueue()
    answer = await rest.client.get(f"{JOBS}/{job['id']}/wait", params={"timeout": "50ms"})
    assert (answer.status_code, answer.json()["state"]) == (202, "available")
    waiting = asyncio.create_task(rest.client.get(f"{JOBS}/{job['id']}/wait", params={"timeout": "20"}))
    await asyncio.sleep(0.1)
    await rest.client.delete(f"{JOBS}/{job['id']}")
    answer = await waiting
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")


async def test_waits_end_at_once_when_the_server_stops(rest: Rest) -> None:
    job = await rest.enqueue()
    waiting = asyncio.create_task(rest.client.get(f"{JOBS}/{job['id']}/wait", params={"timeout": "1m"}))
    await asyncio.sleep(0.1)
    await rest.app.stop()
    answer = await asyncio.wait_for(waiting, 30)
    assert answer.status_code == 202


@pytest.mark.parametrize("timeout", ["6m", "-1s", "soon", "nan", "1e9", ""])
async def test_a_wait_has_bounds(rest: Rest, timeout: str) -> None:
    job = await rest.enqueue()
    answer = await rest.client.get(f"{JOBS}/{job['id']}/wait", params={"timeout": timeout})
    assert fields(problem(answer, 422)) == {"timeout"}


@pytest.mark.parametrize(
    "id", ["nope", "01936a3e-7b1c-7c3e-9a5e-2f4b6d8e0a1c", "01936A3E", "%00", "a%2Fb", "%ff"]
)
@pytest.mark.parametrize(
    ("method", "end"), [("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/wait"), ("GET", "/logs")]
)
async def test_what_is_not_there_is_not_found(rest: Rest, method: str, end: str, id: str) -> None:
    problem(await rest.client.request(method, f"{JOBS}/{id}{end}"), 404)


async def test_head_is_get_without_a_body(rest: Rest) -> None:
    job = await rest.enqueue()
    full = await rest.client.get(f"{JOBS}/{job['id']}")
    head = await rest.client.head(f"{JOBS}/{job['id']}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == full.headers["content-length"]


async def test_a_request_to_cancel_ends_with_the_job(rest: Rest) -> None:
    begun = asyncio.Event()

    async def waits(context: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with rest.running(handler("waits", waits)):
        job = await rest.enqueue(type="waits")
        await begun.wait()
        asked = (await rest.client.delete(f"{JOBS}/{job['id']}")).json()
        ended = await rest.final(job["id"])
    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    assert (ended["state"], ended["cancel_requested"]) == ("cancelled", False)
