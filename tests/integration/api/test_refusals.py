"""Every refusal is a problem, says the field, and stores nothing."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from flux.domain.errors import TooDeep, Unavailable
from flux.domain.request import JobRequest
from tests.integration.api.conftest import JOBS, MAX_PAYLOAD, Rest, fields, problem

JSON = {"content-type": "application/json"}


async def nothing_stored(rest: Rest) -> None:
    assert (await rest.client.get(JOBS)).json()["jobs"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"type": "x",}',
        b"\xff\xfe",
        b'{"type": "\xff"}',
        b'{"type":"x"} x',
        b"nul",
        b'{"type":x}',
        b"[" * 50,
    ],
)
async def test_what_is_no_json_is_malformed(rest: Rest, body: bytes) -> None:
    for path in (JOBS, f"{JOBS}/batch", "/api/v1/schedules"):
        problem(await rest.client.post(path, content=body, headers=JSON), 400)
    await nothing_stored(rest)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, {"type"}),
        ([], {"body"}),
        ("x", {"body"}),
        ({"type": 1}, {"type"}),
        ({"type": ""}, {"type"}),
        ({"type": "a b"}, {"type"}),
        ({"type": "x" * 201}, {"type"}),
        ({"type": "x", "queue": "-q"}, {"queue"}),
        ({"type": "x", "queue": "q" * 101}, {"queue"}),
        ({"type": "x", "priority": 0, "max_retries": 1001}, {"priority", "max_retries"}),
        ({"type": "x", "priority": "5"}, {"priority"}),
        ({"type": "x", "priority": 5.5}, {"priority"}),
        ({"type": "x", "priority": True}, {"priority"}),
        ({"type": "x", "max_retry": 3}, {"max_retry"}),
        ({"type": "x", "delay": "-1s"}, {"delay"}),
        ({"type": "x", "delay": "5"}, {"delay"}),
        ({"type": "x", "delay": "1s", "run_at": "2030-01-01T00:00:00Z"}, {"run_at"}),
        ({"type": "x", "run_at": "2030-01-01T00:00:00"}, {"run_at"}),
        ({"type": "x", "run_at": "2030-13-01T00:00:00Z"}, {"run_at"}),
        ({"type": "x", "timeout": 0}, {"timeout"}),
        ({"type": "x", "timeout": "200y"}, {"timeout"}),
        ({"type": "x", "tags": ["a", 1]}, {"tags[1]"}),
        ({"type": "x", "headers": {"a": 1}}, {"headers.a"}),
        ({"type": "x", "unique": {"by": ["colour"]}}, {"unique.by"}),
        ({"type": "x", "unique": {"buy": []}}, {"unique.buy"}),
        ({"type": "x", "cron": "61 * * * *"}, {"cron"}),
        ({"type": "x", "timezone": "UTC"}, {"timezone"}),
        ({"type": "x", "cron": "* * * * *", "schedule": "a b"}, {"schedule"}),
        ({"type": "x", "cron": "* * * * *", "timezone": "Mars/Base"}, {"timezone"}),
        ({"type": "x", "payload": "a\0b"}, {"payload"}),
        ({"type": "x", "backoff": {"kind": "magic"}}, {"backoff.kind"}),
        ({"type": "x", "idempotency_key": ""}, {"idempotency_key"}),
        ({"type": "x", "headers": {"b": "1", "a": None}}, {"headers.a"}),
        ({"type": "x", "nope": 1, "priority": 99, "delay": "soon"}, {"nope", "priority", "delay"}),
        ({"type": "x", "nope": 1, "idempotency_ttl": "1h"}, {"nope"}),
        ({"type": "x", "idempotency_key": 1, "idempotency_ttl": "1h"}, {"idempotency_key"}),
        ({"type": "x", "cron": 5, "timezone": "UTC"}, {"cron"}),
        ({"queue": "b c"}, {"type", "queue"}),
        ({"type": 5, "priority": [], "nope": 1, "delay": {}}, {"type", "priority", "nope", "delay"}),
    ],
)
async def test_wrong_fields_are_named(rest: Rest, body: Any, wrong: set[str]) -> None:
    answer = await rest.client.post(JOBS, json=body)
    assert fields(problem(answer, 422)) == wrong
    await nothing_stored(rest)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"type":"x","payload":{"a":NaN}}', "payload"),
        (b'{"type":"x","payload":[-Infinity]}', "payload"),
        (b'{"type":"x","payload":"\\ud800"}', "payload"),
        (b'{"type":"x","payload":{"\\udfff":1}}', "payload"),
        (b'{"type":"\\ud800"}', "type"),
        (b'{"type":"x","payload":1e999}', "payload"),
        (b'{"type":"x","payload":' + b"[" * 101 + b"]" * 101 + b"}", "payload"),
        (b'{"type":"x","payload":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "payload"),
        (b'{"type":1,"payload":' + b"[" * 9000 + b"]" * 9000 + b"}", "payload"),
        (b'{"type":"x","priority":' + b"9" * 5000 + b"}", "priority"),
    ],
)
async def test_json_that_cannot_be_kept_is_refused_by_field(rest: Rest, body: bytes, field: str) -> None:
    answer = await rest.client.post(JOBS, content=body, headers=JSON)
    if len(body) > 30_000 and answer.status_code == 413:
        return
    assert fields(problem(answer, 422)) == {field}
    await nothing_stored(rest)


async def test_nesting_of_100_levels_is_kept(rest: Rest) -> None:
    body = b'{"type":"x","payload":' + b"[" * 100 + b"]" * 100 + b"}"
    assert (await rest.client.post(JOBS, content=body, headers=JSON)).status_code == 201


async def test_a_batch_names_the_index_and_stores_none(rest: Rest) -> None:
    jobs: list[Any] = [{"type": "x"} for _ in range(6)]
    jobs[3] = {"type": "x", "max_retries": -1}
    jobs[5] = {"type": "x", "priority": 99}
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": jobs})
    assert fields(problem(answer, 422)) == {"jobs[3].max_retries", "jobs[5].priority"}
    jobs[3] = {"type": "x", "max_retries": "many"}
    jobs[4] = {"typ": "x"}
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": jobs})
    wrong = {"jobs[3].max_retries", "jobs[4].typ", "jobs[4].type", "jobs[5].priority"}
    assert fields(problem(answer, 422)) == wrong
    wrong = {"jobs[1].priority", "jobs[3].max_retries", "jobs[4].typ", "jobs[4].type", "jobs[4].queue"}
    mixed = [{"type": "x"}, {"type": "x", "priority": 0}, *jobs[2:4], {"typ": "x", "queue": "b c"}]
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": mixed})
    assert fields(problem(answer, 422)) == wrong
    jobs[3] = 7
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": jobs[:4]})
    assert fields(problem(answer, 422)) == {"jobs[3]"}
    for body in ({}, [], {"jobs": {}}, {"jobs": [], "more": 1}):
        problem(await rest.client.post(f"{JOBS}/batch", json=body), 422)
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": [{"type": "x"}] * 10_001})
    assert fields(problem(answer, 422)) == {"jobs"}
    await nothing_stored(rest)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (b'{"type":"x","payload":NaN}', "payload"),
        (b'{"type":"x","payload":{"a":[-Infinity]}}', "payload"),
        (b'{"type":"x","payload":"\\ud800"}', "payload"),
        (b'{"type":"x","payload":{"\\udfff":1}}', "payload"),
        (b'{"type":"x","payload":1e999}', "payload"),
        (b'{"type":"\\ud800"}', "type"),
        (b'{"type":"x","headers":{"a":"\\ud800"}}', "headers"),
        (b'{"type":5}', "type"),
        (b'{"type":"x","tags":{}}', "tags"),
    ],
)
async def test_a_batch_names_the_index_of_what_cannot_be_read(rest: Rest, bad: bytes, field: str) -> None:
    body = b'{"jobs":[{"type":"x"},' + bad + b',{"type":"x"},' + bad + b"]}"
    answer = await rest.client.post(f"{JOBS}/batch", content=body, headers=JSON)
    assert fields(problem(answer, 422)) == {f"jobs[1].{field}", f"jobs[3].{field}"}
    await nothing_stored(rest)


async def test_a_batch_has_no_key_of_its_own(rest: Rest) -> None:
    batch = {"jobs": [{"type": "x"}]}
    answer = await rest.client.post(f"{JOBS}/batch", json=batch, headers={"Idempotency-Key": "k"})
    assert fields(problem(answer, 422)) == {"Idempotency-Key"}
    await nothing_stored(rest)


async def test_a_batch_with_a_conflicting_key_stores_none(rest: Rest) -> None:
    await rest.enqueue(idempotency_key="k")
    jobs = [{"type": "a"}, {"type": "other", "idempotency_key": "k"}]
    assert "1" in problem(await rest.client.post(f"{JOBS}/batch", json={"jobs": jobs}), 409)["detail"]
    assert len((await rest.client.get(JOBS)).json()["jobs"]) == 1


async def test_a_conflicting_key_names_its_job_and_no_index(rest: Rest) -> None:
    there = await rest.enqueue(idempotency_key="k")
    answer = await rest.client.post(JOBS, json={"type": "other", "idempotency_key": "k"})
    detail = problem(answer, 409)["detail"]
    assert there["id"] in detail
    assert "jobs[" not in detail


async def test_sentences_are_the_same_everywhere_and_name_the_field_once(rest: Rest) -> None:
    job = await rest.enqueue()
    posted = problem(await rest.client.post(JOBS, json={"type": "x", "queue": "b c"}), 422)
    patched = problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={"queue": "b c"}), 422)
    assert posted["errors"] == patched["errors"]
    magic = problem(await rest.client.post(JOBS, json={"type": "x", "backoff": {"kind": "magic"}}), 422)
    assert magic["errors"][0]["message"].startswith("must be one of")


async def test_null_is_the_default_and_a_payload(rest: Rest) -> None:
    nulls = {
        name: None
        for name in msgspec.structs.asdict(JobRequest(type="x"))
        if name not in ("type", "idempotency_key")
    }
    body = nulls | {"type": "x", "idempotency_key": "k"}
    job = await rest.enqueue(**body)
    assert (job["queue"], job["priority"], job["max_retries"], job["tags"]) == ("default", 5, 3, [])
    assert job["payload"] is None
    plain = {"type": "x", "payload": None, "idempotency_key": "k"}
    assert (await rest.client.post(JOBS, json=plain)).json()["id"] == job["id"]
    batch = await rest.client.post(f"{JOBS}/batch", json={"jobs": [body, {"type": "y", "tags": None}]})
    assert batch.status_code == 201
    assert batch.json()["jobs"][0]["id"] == job["id"]
    answer = await rest.client.post(JOBS, json={"type": None})
    assert fields(problem(answer, 422)) == {"type"}
    answer = await rest.client.post(JOBS, json={"type": "x", "tags": None, "priority": 11})
    assert fields(problem(answer, 422)) == {"priority"}


async def test_words_are_those_of_json(rest: Rest) -> None:
    wrong = {"type": 1, "priority": "high", "delay": [], "tags": {}, "unique": {"by": 5}}
    for path, body in ((JOBS, wrong), ("/api/v1/schedules", {"name": 5, "type": 1, "paused": "no"})):
        found = problem(await rest.client.post(path, json=body), 422)["errors"]
        assert not [error for error in found if re.search(r"\b(str|int|bool|float)\b", error["message"])]
        assert {"field": "type", "message": "expected `string`, got `integer`"} in found
    found = problem(await rest.client.post(f"{JOBS}/cancel", json={"queue": 1}), 422)["errors"]
    assert found == [{"field": "queue", "message": "expected `string | null`, got `integer`"}]


@pytest.mark.parametrize(
    ("verb", "states"), [("retry", ["dead", "running"]), ("retry", "succeeded"), ("cancel", ["dead"])]
)
async def test_states_in_which_nothing_can_be_done_are_refused(rest: Rest, verb: str, states: Any) -> None:
    answer = await rest.client.post(f"{JOBS}/{verb}", json={"state": states})
    assert fields(problem(answer, 422)) == {"state"}


async def test_no_content_has_no_type(rest: Rest) -> None:
    await rest.client.post("/api/v1/schedules", json={"name": "n", "type": "x", "every": "1h"})
    answer = await rest.client.delete("/api/v1/schedules/n")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    assert "content-length" not in answer.headers


async def test_a_batch_is_accepted_in_order(rest: Rest) -> None:
    jobs = [{"type": "x", "payload": i, "delay": "1h" if i % 2 else "0s"} for i in range(10_000)]
    answer = await rest.client.post(f"{JOBS}/batch", json={"jobs": jobs})
    assert answer.status_code == 201
    accepted = answer.json()["jobs"]
    assert len(accepted) == 10_000
    assert [job["state"] for job in accepted[:4]] == ["available", "scheduled", "available", "scheduled"]
    assert (await rest.client.get(f"{JOBS}/{accepted[4321]['id']}")).json()["payload"] == 4321
    assert (await rest.client.post(f"{JOBS}/batch", json={"jobs": []})).json() == {"jobs": []}


async def test_a_payload_past_the_limit_is_too_large(rest: Rest) -> None:
    fits = "x" * (MAX_PAYLOAD - 2)
    job = await rest.enqueue(payload=fits)
    answer = await rest.client.post(JOBS, json={"type": "x", "payload": fits + "y"})
    assert fields(problem(answer, 413)) == {"payload"}
    batch = {"jobs": [{"type": "x"}, {"type": "x", "payload": fits + "y"}]}
    assert fields(problem(await rest.client.post(f"{JOBS}/batch", json=batch), 413)) == {"jobs[1].payload"}
    problem(await rest.client.patch(f"{JOBS}/{job['id']}", json={"payload": fits + "y"}), 413)
    assert len((await rest.client.get(JOBS)).json()["jobs"]) == 1


async def test_a_body_past_the_limit_is_not_read(rest: Rest) -> None:
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b" " * 65536, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            raise ConnectionError  # what follows is only thrown away

    scope = {"type": "http", "method": "POST", "path": JOBS, "query_string": b""}
    typed = [(b"content-type", b"application/json")]
    with pytest.raises(ConnectionError):
        await rest.app({**scope, "headers": typed}, receive, send)
    assert sent[0]["status"] == 413
    assert read <= 3
    read = 0
    with pytest.raises(ConnectionError):
        await rest.app({**scope, "headers": [(b"content-length", b"99999999999999999999")]}, receive, send)
    assert (sent[2]["status"], read) == (413, 0)


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json", ""],
)
async def test_other_content_types_are_refused(rest: Rest, kind: str) -> None:
    problem(await rest.client.post(JOBS, content=b'{"type":"x"}', headers={"content-type": kind}), 415)
    await nothing_stored(rest)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/problem+json"]
)
async def test_forms_of_the_content_type(rest: Rest, kind: str) -> None:
    headers = {"content-type": kind}
    assert (await rest.client.post(JOBS, content=b'{"type":"x"}', headers=headers)).status_code == 201


async def test_a_body_without_a_content_type_is_refused(rest: Rest) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b""
        yield b'{"type":"x"}'

    for content in (b'{"type":"x"}', chunks()):
        answer = await rest.client.post(JOBS, content=content)
        assert "Content-Type" in problem(answer, 415)["detail"]
    await nothing_stored(rest)
    job = await rest.enqueue()
    problem(await rest.client.patch(f"{JOBS}/{job['id']}", content=b'{"priority":1}'), 415)
    assert (await rest.client.delete(f"{JOBS}/{job['id']}")).status_code == 200


async def test_a_compressed_body_is_refused(rest: Rest) -> None:
    body = gzip.compress(b'{"type":"x"}')
    answer = await rest.client.post(JOBS, content=body, headers={**JSON, "content-encoding": "gzip"})
    assert "Content-Encoding gzip" in problem(answer, 415)["detail"]
    plain = {**JSON, "content-encoding": "identity"}
    assert (await rest.client.post(JOBS, content=b'{"type":"x"}', headers=plain)).status_code == 201


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("limit=0", {"limit"}),
        ("limit=501", {"limit"}),
        ("limit=ten", {"limit"}),
        ("limit=1&limit=2", {"limit"}),
        ("limit=%D9%A3", {"limit"}),
        ("cursor=zzz", {"cursor"}),
        ("cursor=", {"cursor"}),
        ("state=done", {"state"}),
        ("state=dead&state=nope", {"state"}),
        ("created_after=yesterday", {"created_after"}),
        ("created_before=2026-01-01T00:00:00", {"created_before"}),
        ("created_after=x&created_before=y&queue=", {"created_after", "created_before", "queue"}),
        ("full=maybe", {"full"}),
        ("colour=red", {"colour"}),
        ("queue=a&queue=b", {"queue"}),
        ("payload.=1", {"payload."}),
        ("payload.a=1&payload.a=2", {"payload.a"}),
        ("queue=%ff", {"query"}),
        ("queue=%00", {"queue"}),
        ("&".join(f"payload.a{i}=1" for i in range(300)), {"query"}),
    ],
)
async def test_wrong_parameters_are_named(rest: Rest, query: str, wrong: set[str]) -> None:
    assert fields(problem(await rest.client.get(f"{JOBS}?{query}"), 422)) == wrong


async def test_parameters_are_refused_where_none_belong(rest: Rest) -> None:
    job = await rest.enqueue()
    for method, path in (
        ("GET", f"{JOBS}/{job['id']}"),
        ("POST", JOBS),
        ("GET", "/health"),
        ("GET", "/api/v1/queues"),
    ):
        assert fields(problem(await rest.client.request(method, path, params={"x": "1"}), 422)) == {"x"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/api/v1",
        "/api/v1/workflow-templates",
        "/api/v1/api-keys",
        "/api/v2/jobs",
        "/api/v1/jobs/a/b/c",
    ],
)
async def test_unknown_paths_are_not_found(rest: Rest, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        problem(await rest.client.request(method, path), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", JOBS),
        ("DELETE", JOBS),
        ("POST", "/health"),
        ("PUT", f"{JOBS}/x"),
        ("GET", "/api/v1/workers/x/drain"),
        ("OPTIONS", JOBS),
        ("BREW", JOBS),
    ],
)
async def test_other_methods_are_not_allowed(rest: Rest, method: str, path: str) -> None:
    answer = await rest.client.request(method, path)
    problem(answer, 405)
    assert answer.headers["allow"]
    assert method not in answer.headers["allow"].split(", ")


async def test_a_full_queue_says_when_to_try_again(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def admit(jobs: Any) -> None:
        raise TooDeep("queue default is at its maximum depth", 1_500_000)

    monkeypatch.setattr(rest.engine.enqueuer._depth, "admit", admit)
    answer = await rest.client.post(JOBS, json={"type": "x"})
    problem(answer, 429)
    assert answer.headers["retry-after"] == "2"


async def test_a_store_that_is_away_says_when_to_try_again(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def insert(batches: Any) -> Any:
        raise Unavailable("the database is locked")

    monkeypatch.setattr(rest.engine.enqueuer._batcher, "_flush", insert)
    answer = await rest.client.post(JOBS, json={"type": "x"})
    assert "locked" in problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) >= 1


async def test_what_nobody_foresaw_is_told_without_its_inside(
    rest: Rest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(rest.engine.store.queries, "get", broken)
    answer = await rest.client.get(f"{JOBS}/01936a3e-7b1c-7c3e-9a5e-2f4b6d8e0a1c")
    body = problem(answer, 500)
    assert "secret" not in answer.text
    assert body["instance"] in caplog.text
    assert "secret" in caplog.text


async def test_a_client_that_leaves_early_harms_nobody(rest: Rest) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": JOBS, "query_string": b"", "headers": []}
    await rest.app(scope, receive, send)
    assert sent == []
