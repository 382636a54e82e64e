"""Lists of jobs and the calls in bulk."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from flux.domain.duration import format_instant
from tests.integration.api.conftest import JOBS, Rest, fail, fields, problem


async def ids(rest: Rest, query: str) -> list[str]:
    answer = await rest.client.get(f"{JOBS}?{query}")
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


async def test_pages_are_newest_first_and_meet_every_job_once(rest: Rest) -> None:
    batch = {"jobs": [{"type": "x", "payload": i} for i in range(25)]}
    made = [job["id"] for job in (await rest.client.post(f"{JOBS}/batch", json=batch)).json()["jobs"]]
    seen: list[str] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"limit": 10} | ({"cursor": cursor} if cursor else {})
        page = (await rest.client.get(JOBS, params=query)).json()
        assert set(page) == {"jobs", "next_cursor", "searched_until"}
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)
    assert seen == sorted(seen, reverse=True)


async def test_lists_leave_the_long_fields_out_unless_asked(rest: Rest) -> None:
    await rest.enqueue(payload={"a": 1})
    (short,) = (await rest.client.get(JOBS)).json()["jobs"]
    assert not {"payload", "result", "attempts"} & set(short)
    assert short["waiting_for"]["kind"] == "no_worker"
    (full,) = (await rest.client.get(JOBS, params={"full": "true"})).json()["jobs"]
    assert (full["payload"], full["result"], full["attempts"]) == ({"a": 1}, None, [])


async def test_filters(rest: Rest) -> None:
    a = (
        await rest.enqueue(type="a", queue="q1", tags=["t"], payload={"user": {"id": 7}}, idempotency_key="k")
    )["id"]
    await asyncio.sleep(0.05)
    between = format_instant(time.time_ns() // 1000)
    await asyncio.sleep(0.05)
    b = (await rest.enqueue(type="b", queue="q2", delay="1h", payload={"user": {"id": "7"}, "x": [True]}))[
        "id"
    ]
    c = (await rest.enqueue(type="b", queue="q2"))["id"]
    await rest.client.delete(f"{JOBS}/{c}")
    assert await ids(rest, "type=a") == [a]
    assert await ids(rest, "queue=q2") == [c, b]
    assert await ids(rest, "tag=t") == [a]
    assert await ids(rest, "key=k") == [a]
    assert await ids(rest, "state=scheduled") == [b]
    assert await ids(rest, "state=scheduled&state=cancelled") == [c, b]
    assert await ids(rest, "state=scheduled,available") == [b, a]
    assert await ids(rest, "payload.user.id=7") == [b, a]
    assert await ids(rest, "payload.x.0=true&type=b") == [b]
    assert await ids(rest, f"created_before={between}") == [a]
    assert await ids(rest, f"created_after={between}") == [c, b]
    assert await ids(rest, "created_before=2020-01-01T00:00:00+01:00") == []
    assert await ids(rest, "worker_id=nobody") == []


async def test_errors_are_found_by_text(rest: Rest) -> None:
    async with rest.running(fail):
        job = await rest.final((await rest.enqueue(type="fail", max_retries=0))["id"])
    assert await ids(rest, "error=never") == [job["id"]]
    assert await ids(rest, "error=something%20else") == []
    assert await ids(rest, f"worker_id={job['worker_id']}") == [job["id"]]


async def test_cancel_and_retry_in_bulk(rest: Rest) -> None:
    for queue in ("a", "a", "b"):
        await rest.enqueue(queue=queue)
    answer = await rest.client.post(f"{JOBS}/cancel", json={"queue": "a", "reason": "withdrawn"})
    assert (answer.status_code, answer.json()) == (200, {"count": 2})
    assert len(await ids(rest, "state=cancelled&error=withdrawn")) == 2
    assert (await rest.client.post(f"{JOBS}/retry", json={"queue": "a"})).json() == {"count": 0}
    again = {"queue": "a", "state": ["cancelled"]}
    assert (await rest.client.post(f"{JOBS}/retry", json=again)).json() == {"count": 2}
    assert (await rest.client.post(f"{JOBS}/cancel", json={"all": True})).json() == {"count": 3}


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_bulk_calls_need_a_filter(rest: Rest, verb: str) -> None:
    await rest.enqueue()
    for body in (b"", b"{}", b'{"all": false}'):
        answer = await rest.client.post(
            f"{JOBS}/{verb}", content=body, headers={"content-type": "application/json"}
        )
        assert "all" in problem(answer, 422)["errors"][0]["message"]
    wrong = {"quue": "a", "state": "nope", "created_after": 7}
    assert fields(problem(await rest.client.post(f"{JOBS}/{verb}", json=wrong), 422)) == {
        "quue",
        "created_after",
    }
    assert fields(problem(await rest.client.post(f"{JOBS}/{verb}", json={"state": "nope"}), 422)) == {"state"}
    assert await ids(rest, "state=available")
