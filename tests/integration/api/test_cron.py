"""``POST /jobs`` with ``cron``: the schedule it makes, and what its keys stand for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from flux.domain.duration import SECOND
from flux.engine.ports import Retention
from tests.integration.api.conftest import JOBS, Rest, fields, problem

SCHEDULES = "/api/v1/schedules"
EXAMPLE: dict[str, Any] = {
    "type": "email",
    "payload": {"to": "user@example.com"},
    "queue": "default",
    "priority": 5,
    "delay": "30s",
    "run_at": None,
    "timeout": "5m",
    "max_retries": 3,
    "backoff": {"kind": "exponential", "base": "1s", "max": "1h", "jitter": 0.2},
    "idempotency_key": "unique-id",
    "cron": "0 */6 * * *",
    "timezone": "UTC",
    "tags": ["a"],
    "unique": {"by": ["type", "payload"], "period": "1h"},
}
"""A job with everything, as the documentation has it."""

KEYED: dict[str, Any] = {"type": "echo", "cron": "0 3 * * *", "idempotency_key": "k"}


async def ask(rest: Rest, body: dict[str, Any], status: int, **more: Any) -> dict[str, Any]:
    answer = await rest.client.post(JOBS, json=body | more)
    assert answer.status_code == status, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{JOBS}/{job['id']}"
    return job


async def names(rest: Rest) -> list[str]:
    return [each["name"] for each in (await rest.client.get(SCHEDULES)).json()["schedules"]]


async def schedule(rest: Rest) -> dict[str, Any]:
    """The only one there is."""
    [only] = (await rest.client.get(SCHEDULES)).json()["schedules"]
    assert isinstance(only, dict)
    return only


async def test_the_example_with_every_field(rest: Rest) -> None:
    before = datetime.now(UTC)
    job = await ask(rest, EXAMPLE, 201)
    made = await schedule(rest)
    assert (job["state"], job["schedule_id"], job["id"]) == ("scheduled", made["id"], made["next_job_id"])
    assert (made["cron"], made["timezone"]) == ("0 */6 * * *", "UTC")
    run_at = datetime.fromisoformat(job["run_at"])
    assert (run_at.hour % 6, run_at.minute, run_at.second) == (0, 0, 0)
    assert before + timedelta(seconds=30) <= run_at <= before + timedelta(hours=6, minutes=1)
    assert job["backoff"].items() >= EXAMPLE["backoff"].items()
    others = EXAMPLE.keys() - {"backoff", "delay", "run_at"}
    assert {name: job[name] for name in others} == {name: EXAMPLE[name] for name in others}
    again = await rest.client.post(JOBS, json=EXAMPLE)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["id"] == job["id"]


async def test_a_job_names_the_schedule_that_made_it(rest: Rest) -> None:
    async def told(job_id: str) -> tuple[str | None, ...]:
        job = (await rest.client.get(f"{JOBS}/{job_id}")).json()
        return job["schedule"], job["cron"], job["timezone"]

    body = {"type": "echo", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "schedule": "nightly"}
    first = await ask(rest, body, 201)
    assert (first["schedule"], first["cron"]) == ("nightly", "0 3 * * *")
    assert await told(first["id"]) == ("nightly", "0 3 * * *", "Europe/Berlin")
    changed = (await rest.client.patch(f"{SCHEDULES}/nightly", json={"every": "1h"})).json()
    assert await told(changed["next_job_id"]) == ("nightly", None, None)
    triggered = (await rest.client.post(f"{SCHEDULES}/nightly/trigger")).json()
    await rest.client.delete(f"{SCHEDULES}/nightly")
    assert await told(triggered["id"]) == ("nightly", None, None)
    assert await told(first["id"]) == ("nightly", "0 3 * * *", "Europe/Berlin")
    listed = (await rest.client.get(JOBS, params={"schedule_id": first["schedule_id"]})).json()["jobs"]
    assert {job["schedule"] for job in listed} == {"nightly"}
    assert await told((await rest.enqueue())["id"]) == (None, None, None)


async def test_a_delay_is_when_the_schedule_starts(rest: Rest) -> None:
    before = datetime.now(UTC)
    job = await ask(rest, {"type": "echo", "cron": "* * * * *"}, 201, delay="2h")
    after = datetime.now(UTC)
    run_at = datetime.fromisoformat(job["run_at"])
    assert before + timedelta(hours=2) <= run_at <= after + timedelta(hours=2, minutes=1)
    assert run_at.second == 0
    assert datetime.fromisoformat((await schedule(rest))["start_at"]) <= run_at


# --- idempotency_key ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [{"cron": "0 4 * * *"}, {"schedule": "mine"}, {"payload": {"n": 1}}, {"cron": None}, {"delay": "1s"}],
)
async def test_a_key_stands_for_one_request(rest: Rest, other: dict[str, Any]) -> None:
    job = await ask(rest, KEYED, 201)
    assert job["idempotency_key"] == "k"
    problem(await rest.client.post(JOBS, json=KEYED | other), 409)
    assert len(await names(rest)) == 1
    assert (await ask(rest, KEYED, 200))["id"] == job["id"]


async def test_a_key_of_a_job_stands_for_no_schedule(rest: Rest) -> None:
    job = await rest.enqueue(type="echo", idempotency_key="k")
    problem(await rest.client.post(JOBS, json=KEYED), 409)
    assert await names(rest) == []
    assert (await ask(rest, {"type": "echo", "idempotency_key": "k"}, 200))["id"] == job["id"]


@pytest.mark.parametrize("name", [None, "nightly"])
async def test_a_key_stands_for_what_was_asked_whatever_became_of_it(rest: Rest, name: str | None) -> None:
    first = await ask(rest, KEYED, 201, schedule=name)
    at = f"{SCHEDULES}/{(await schedule(rest))['name']}"
    changed = (await rest.client.patch(at, json={"cron": "0 4 * * *", "priority": 9})).json()
    again = await ask(rest, KEYED, 200, schedule=name)
    assert (again["schedule_id"], again["id"]) == (first["schedule_id"], changed["next_job_id"])
    assert (again["priority"], again["idempotency_key"]) == (9, "k")
    found = (await rest.client.get(JOBS, params={"key": "k"})).json()["jobs"]
    assert [job["id"] for job in found] == [again["id"]]

    await rest.client.post(f"{at}/pause")
    paused = await ask(rest, KEYED, 200, schedule=name)
    assert (paused["schedule_id"], paused["state"]) == (first["schedule_id"], "cancelled")
    problem(await rest.client.post(JOBS, json=KEYED | {"schedule": name, "cron": "0 4 * * *"}), 409)
    assert len(await names(rest)) == 1


ASKED_AGAIN: list[dict[str, Any]] = [
    KEYED,
    KEYED | {"schedule": "nightly"},
    {"type": "echo", "cron": "0 3 * * *", "schedule": "nightly", "payload": {"n": 1}},
    {"type": "echo", "cron": "0 3 * * *", "unique": {}},
]


@pytest.mark.parametrize("body", ASKED_AGAIN, ids=["key", "key and name", "name", "unique"])
async def test_a_paused_schedule_is_answered_when_none_of_its_jobs_is_kept(
    rest: Rest, body: dict[str, Any]
) -> None:
    first = await ask(rest, body, 201, tags=["a"])
    at = f"{SCHEDULES}/{(await schedule(rest))['name']}"
    await rest.client.post(f"{at}/pause")
    duties = rest.engine.store.duties
    epoch = await duties.lead("test", SECOND)
    assert epoch is not None
    await duties.prune(epoch, Retention(succeeded=0, dead=0, cancelled=0, most=0), 100)
    assert (await rest.client.get(f"{JOBS}/{first['id']}")).status_code == 404

    again = await ask(rest, body, 200, tags=["a"])
    same = (
        "id",
        "schedule_id",
        "type",
        "payload",
        "tags",
        "cron",
        "schedule",
        "created_at",
        "run_at",
        "idempotency_key",
    )
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert again["state"] == "cancelled"
    assert len(await names(rest)) == 1

    await rest.client.post(f"{at}/resume")
    resumed = await ask(rest, body, 200, tags=["a"])
    assert (resumed["schedule_id"], resumed["state"]) == (first["schedule_id"], "scheduled")
    assert resumed["id"] == (await schedule(rest))["next_job_id"] != first["id"]


async def test_a_schedule_that_has_never_made_a_job_has_none_to_answer_with(rest: Rest) -> None:
    made = {"name": "nightly", "type": "echo", "cron": "0 3 * * *", "paused": True}
    assert (await rest.client.post(SCHEDULES, json=made)).status_code == 201
    body = {"type": "echo", "cron": "0 3 * * *", "schedule": "nightly"}
    refused = problem(await rest.client.post(JOBS, json=body), 409)
    assert "'nightly' is there already and paused, and has never made a job" in refused["detail"]


async def test_a_deleted_schedule_gives_its_key_back(rest: Rest) -> None:
    first = await ask(rest, KEYED, 201)
    await rest.client.delete(f"{SCHEDULES}/{(await schedule(rest))['name']}")
    again = await ask(rest, KEYED, 201, priority=9)
    assert again["schedule_id"] != first["schedule_id"]


async def test_a_key_may_come_in_the_header(rest: Rest) -> None:
    body = {"type": "echo", "cron": "0 3 * * *"}
    first = await rest.client.post(JOBS, json=body, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["idempotency_key"]) == (201, "k")
    assert (await ask(rest, KEYED, 200))["id"] == first.json()["id"]


async def test_a_key_is_held_for_its_ttl(rest: Rest) -> None:
    first = await ask(rest, KEYED, 201, idempotency_ttl="1h")
    assert (await ask(rest, KEYED, 200, idempotency_ttl="1h"))["id"] == first["id"]
    await rest.client.delete(f"{SCHEDULES}/{(await schedule(rest))['name']}")

    # So short that it is over when the answer is there.
    first = await ask(rest, KEYED, 201, idempotency_ttl="1us")
    second = await ask(rest, KEYED, 201, idempotency_ttl="1us")
    assert second["schedule_id"] != first["schedule_id"]


# --- unique -------------------------------------------------------------------------------------------------------


async def duplicate(rest: Rest, body: dict[str, Any]) -> httpx.Response:
    answer = await rest.client.post(JOBS, json=body)
    assert (answer.status_code, answer.headers.get("unique-duplicate")) == (200, "true"), answer.text
    return answer


async def test_unique_is_said_of_the_schedule(rest: Rest) -> None:
    body = {"type": "echo", "cron": "0 3 * * *", "payload": {"n": 1}, "unique": {}}
    first = await ask(rest, body, 201)
    assert (await duplicate(rest, body)).json()["id"] == first["id"]
    assert (await duplicate(rest, body | {"idempotency_key": "k"})).json()["id"] == first["id"]
    # A job that is unique itself has nothing to do with it.
    plain = await rest.enqueue(type="echo", payload={"n": 1}, unique={})
    assert plain["schedule_id"] is None
    assert (await ask(rest, body, 201, payload={"n": 2}))["schedule_id"] != first["schedule_id"]
    assert len(await names(rest)) == 2


async def test_unique_counts_what_it_is_told_to(rest: Rest) -> None:
    body = {"type": "echo", "cron": "0 3 * * *", "queue": "q", "unique": {"by": ["queue"]}}
    first = await ask(rest, body, 201)
    assert (await duplicate(rest, body | {"type": "other"})).json()["id"] == first["id"]
    # A name is another schedule, since that is what it was asked for.
    named = await ask(rest, body, 201, schedule="mine")
    assert named["schedule_id"] != first["schedule_id"]


async def test_unique_is_checked_with_cron_too(rest: Rest) -> None:
    body = {"type": "echo", "cron": "0 3 * * *", "unique": {"by": ["colour"]}}
    assert fields(problem(await rest.client.post(JOBS, json=body), 422)) == {"unique.by"}
    assert await names(rest) == []
