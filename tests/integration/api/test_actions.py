"""Calls that do something and need no body: nothing in one passes in silence."""

from __future__ import annotations

import pytest

from tests.integration.api.conftest import JOBS, Rest, fields, problem

API = "/api/v1"
JSON = {"content-type": "application/json"}
ACTIONS = [
    f"{API}/queues/mail/pause",
    f"{API}/queues/mail/resume",
    f"{API}/schedules/nightly/pause",
    f"{API}/schedules/nightly/resume",
    f"{API}/schedules/nightly/trigger",
    f"{API}/workers/somebody/drain",
    f"{JOBS}/00000000-0000-7000-8000-000000000000/retry",
]


@pytest.fixture(autouse=True)
async def nightly(rest: Rest) -> None:
    schedule = {"name": "nightly", "type": "x", "cron": "@daily"}
    assert (await rest.client.post(f"{API}/schedules", json=schedule)).status_code == 201


@pytest.mark.parametrize("path", ACTIONS)
async def test_what_is_wrong_with_a_body_is_said(rest: Rest, path: str) -> None:
    post = rest.client.post
    assert fields(problem(await post(path, json={"nope": 1}), 422)) == {"nope"}
    assert fields(problem(await post(path, json=[1]), 422)) == {"body"}
    problem(await post(path, content=b'{"by":', headers=JSON), 400)
    problem(await post(path, content=b"{}", headers={"content-type": "text/plain"}), 415)
    problem(await post(path, content=b"{}"), 415)
    # Nothing was done: neither is paused, and no setting has made the queue.
    problem(await rest.client.get(f"{API}/queues/mail"), 404)
    assert (await rest.client.get(f"{API}/schedules/nightly")).json()["paused"] is False
    assert (await rest.client.get(JOBS, params={"state": "available"})).json()["jobs"] == []


@pytest.mark.parametrize("path", ACTIONS)
async def test_an_empty_body_and_an_empty_object_are_the_same(rest: Rest, path: str) -> None:
    expected = {404} if "workers" in path or path.endswith("retry") else {200, 201}
    assert (await rest.client.post(path)).status_code in expected
    assert (await rest.client.post(path, json={})).status_code in expected


# What browsers send for a page of another origin that posts without a body: a form, fetch() and an older fetch().
FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "http://evil.example"}
FETCH = {"sec-fetch-site": "cross-site", "origin": "http://evil.example"}
NEIGHBOUR = {"sec-fetch-site": "same-site", "origin": "http://flux:3000"}
OLDER = {"origin": "http://evil.example"}
SANDBOX = {"origin": "null"}


@pytest.mark.parametrize(
    "path", [*ACTIONS, f"{JOBS}/cancel", f"{JOBS}/{'0' * 8}-0000-7000-8000-{'0' * 12}/rerun"]
)
async def test_a_page_of_another_origin_can_call_none(rest: Rest, path: str) -> None:
    problem(await rest.client.post(path, headers=FORM), 415)
    for headers in (FETCH, NEIGHBOUR, OLDER, SANDBOX):
        problem(await rest.client.post(path, headers=headers), 403)
    problem(await rest.client.get(f"{API}/queues/mail"), 404)
    assert (await rest.client.get(f"{API}/schedules/nightly")).json()["paused"] is False
    assert (await rest.client.get(JOBS, params={"state": "available"})).json()["jobs"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": "http://flux"},
        {"sec-fetch-site": "none"},
        {"origin": "http://flux"},
        # The browser asked first, and whoever answers such questions allowed it.
        {"content-type": "application/json", **FETCH},
    ],
)
async def test_our_own_pages_and_programs_can(rest: Rest, headers: dict[str, str]) -> None:
    answer = await rest.client.post(f"{API}/queues/mail/pause", headers=headers)
    assert (answer.status_code, answer.json()["paused"]) == (200, True)


async def test_who_paused_a_queue_is_kept(rest: Rest) -> None:
    path = f"{API}/queues/mail/pause"
    for wrong in ("", "x" * 101, "a\0", 7):
        assert fields(problem(await rest.client.post(path, json={"by": wrong}), 422)) == {"by"}
    assert (await rest.client.post(path, json={"by": "ada"})).json()["paused_by"] == "ada"
    job = await rest.enqueue(queue="mail")
    assert job["waiting_for"]["by"] == "ada"
    assert fields(problem(await rest.client.post(f"{API}/queues/mail/resume", json={"by": "ada"}), 422)) == {
        "by"
    }


async def test_why_a_schedule_is_paused_is_kept(rest: Rest) -> None:
    path = f"{API}/schedules/nightly/pause"
    assert fields(problem(await rest.client.post(path, json={"note": "x" * 2001}), 422)) == {"note"}
    paused = (await rest.client.post(path, json={"note": "until the audit is over"})).json()
    assert (paused["paused"], paused["note"]) == (True, "until the audit is over")
