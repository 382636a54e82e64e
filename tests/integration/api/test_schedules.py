"""Schedules over REST."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.integration.api.conftest import JOBS, MAX_PAYLOAD, Rest, fields, problem

SCHEDULES = "/api/v1/schedules"
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "type": "report",
}


async def make(rest: Rest, **fields: Any) -> dict[str, Any]:
    answer = await rest.client.post(SCHEDULES, json=NIGHTLY | fields)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{SCHEDULES}/{answer.json()['name']}"
    made: dict[str, Any] = answer.json()
    return made


async def test_a_schedule_shows_its_next_five_fire_times(rest: Rest) -> None:
    made = await make(rest, payload={"a": 1}, priority=8, tags=["t"], overlap="skip", jitter="30s")
    read = (await rest.client.get(f"{SCHEDULES}/nightly")).json()
    assert read == made
    times = [datetime.fromisoformat(at) for at in read["next_fire_times"]]
    assert len(times) == 5
    assert times == sorted(times)
    assert (read["payload"], read["priority"], read["tags"], read["overlap"]) == ({"a": 1}, 8, ["t"], "skip")
    assert read["rule"] == "at 03:00 every day (Europe/Berlin)"
    job = (await rest.client.get(f"{JOBS}/{read['next_job_id']}")).json()
    assert (job["state"], job["schedule_id"]) == ("scheduled", read["id"])
    assert [job["id"]] == [
        job["id"] for job in (await rest.client.get(JOBS, params={"schedule_id": read["id"]})).json()["jobs"]
    ]


async def test_pause_resume_trigger_delete(rest: Rest) -> None:
    await make(rest)
    paused = (await rest.client.post(f"{SCHEDULES}/nightly/pause")).json()
    assert (paused["paused"], paused["next_job_id"]) == (True, None)
    resumed = (await rest.client.post(f"{SCHEDULES}/nightly/resume")).json()
    assert resumed["paused"] is False
    assert resumed["next_job_id"]
    triggered = await rest.client.post(f"{SCHEDULES}/nightly/trigger")
    assert triggered.status_code == 201
    assert triggered.json()["type"] == "report"
    assert triggered.headers["location"] == f"{JOBS}/{triggered.json()['id']}"
    deleted = await rest.client.delete(f"{SCHEDULES}/nightly")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method, end in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
    ):
        problem(await rest.client.request(method, f"{SCHEDULES}/nightly{end}"), 404)
    problem(await rest.client.patch(f"{SCHEDULES}/nightly", json={"priority": 1}), 404)


async def test_change(rest: Rest) -> None:
    await make(rest)
    changed = (await rest.client.patch(f"{SCHEDULES}/nightly", json={"every": "5m", "priority": 2})).json()
    assert (changed["cron"], changed["every"], changed["priority"]) == (None, "5m", 2)
    assert changed["version"] == 2
    for body, wrong in (({"cron": "x"}, {"cron"}), ({"nope": 1}, {"nope"}), ({}, {"body"}), ([], {"body"})):
        assert fields(problem(await rest.client.patch(f"{SCHEDULES}/nightly", json=body), 422)) == wrong


async def test_names_are_taken_once_and_paged(rest: Rest) -> None:
    for name in ("c", "a", "b"):
        await make(rest, name=name)
    problem(await rest.client.post(SCHEDULES, json=NIGHTLY | {"name": "a"}), 409)
    first = (await rest.client.get(SCHEDULES, params={"limit": 2})).json()
    assert [schedule["name"] for schedule in first["schedules"]] == ["a", "b"]
    second = (await rest.client.get(SCHEDULES, params={"cursor": first["next_cursor"]})).json()
    assert [schedule["name"] for schedule in second["schedules"]] == ["c"]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"cron": "nope"}, {"cron"}),
        ({"every": "1s"}, {"cron"}),
        ({"cron": None, "every": "1m", "timezone": "UTC"}, {"timezone"}),
        ({"timezone": "Mars"}, {"timezone"}),
        ({"overlap": "maybe", "priority": 0}, {"overlap", "priority"}),
        ({"name": "bad name"}, {"name"}),
        ({"crn": "* * * * *"}, {"crn"}),
        ({"type": None}, {"type"}),
    ],
)
async def test_wrong_fields_are_named(rest: Rest, change: dict[str, Any], wrong: set[str]) -> None:
    assert fields(problem(await rest.client.post(SCHEDULES, json=NIGHTLY | change), 422)) == wrong
    assert (await rest.client.get(SCHEDULES)).json()["schedules"] == []


async def test_null_is_the_default(rest: Rest) -> None:
    plain = await make(rest)
    await rest.client.delete(f"{SCHEDULES}/nightly")
    nulls = dict.fromkeys(
        ("queue", "priority", "max_retries", "tags", "overlap", "misfire", "paused", "every")
    )
    made = await make(rest, **nulls)
    same = ("queue", "priority", "max_retries", "tags", "overlap", "misfire", "paused", "rule")
    assert {name: made[name] for name in same} == {name: plain[name] for name in same}


async def test_a_payload_past_the_limit_is_too_large(rest: Rest) -> None:
    answer = await rest.client.post(SCHEDULES, json=NIGHTLY | {"payload": "x" * MAX_PAYLOAD})
    assert fields(problem(answer, 413)) == {"payload"}
