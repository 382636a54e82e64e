"""Server-sent events over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from flux.api import feed, sse
from tests.integration.api.conftest import JOBS, Rest, echo, fields, problem

EVENTS = "/api/v1/events"


class Events:
    """The events of a stream, one at a time."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.comments: list[str] = []
        self.ended = False

    async def next(self, timeout: float = 60) -> dict[str, Any] | None:
        """The next event; None when the stream ended."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(timeout):
            async for line in self._lines:
                if line.startswith(":"):
                    self.comments.append(line[2:])
                elif line:
                    name, _, value = line.partition(": ")
                    event[name] = json.loads(value) if name == "data" else value
                elif "data" in event:
                    return event
                else:
                    event = {}
        self.ended = True
        return None

    async def comment(self, text: str) -> None:
        """Wait for a comment."""
        async with asyncio.timeout(60):
            while text not in self.comments:
                line = await anext(self._lines)
                if line.startswith(":"):
                    self.comments.append(line[2:])


@asynccontextmanager
async def listening(rest: Rest, path: str = EVENTS, **arguments: Any) -> AsyncIterator[Events]:
    async with rest.client.stream("GET", path, **arguments) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-content-type-options"] == "nosniff"
        events = Events(answer)
        await events.comment("connected")
        yield events


async def test_changes_are_told_as_they_happen(served: Rest) -> None:
    async with listening(served) as events:
        job = await served.enqueue(queue="q")
        event = await events.next()
        assert event is not None
        assert event["event"] == "job"
        assert event["id"] == event["data"]["id"]
        assert {
            name: event["data"][name] for name in ("subject", "key", "job_id", "state", "type", "queue")
        } == {
            "subject": "job",
            "key": job["id"],
            "job_id": job["id"],
            "state": "available",
            "type": "echo",
            "queue": "q",
        }
        await served.client.post("/api/v1/queues/q/pause")
        event = await events.next()
        assert event is not None
        assert (event["data"]["subject"], event["data"]["key"], event["data"]["state"]) == (
            "queue",
            "q",
            "paused",
        )
        assert event["data"]["job_id"] is None


async def test_last_event_id_resumes_without_a_gap_or_a_repetition(served: Rest) -> None:
    made = []
    async with listening(served) as events:
        for _ in range(3):
            made.append((await served.enqueue())["id"])
        first = await events.next()
        assert first is not None
    batch = {"jobs": [{"type": "x"}] * 1200}
    made += [job["id"] for job in (await served.client.post(f"{JOBS}/batch", json=batch)).json()["jobs"]]
    seen = [first["data"]["job_id"]]
    async with listening(served, headers={"Last-Event-ID": first["id"]}) as events:
        while len(seen) < len(made):
            event = await events.next()
            assert event is not None
            seen.append(event["data"]["job_id"])
        late = await served.enqueue()
        event = await events.next()
        assert event is not None
        assert event["data"]["job_id"] == late["id"]
    assert seen == made


async def test_filters(served: Rest) -> None:
    async with (
        listening(served, params={"state": "cancelled", "queue": "a"}) as cancelled,
        listening(served, params={"subject": "queue"}) as queues,
    ):
        for queue in ("b", "a"):
            job = await served.enqueue(queue=queue)
            await served.client.delete(f"{JOBS}/{job['id']}")
        await served.client.post("/api/v1/queues/b/pause")
        event = await cancelled.next()
        assert event is not None
        assert (event["data"]["queue"], event["data"]["state"]) == ("a", "cancelled")
        event = await queues.next()
        assert event is not None
        assert event["data"]["key"] == "b"


@pytest.mark.parametrize(
    "query",
    [{"subject": "cat"}, {"last_event_id": "x"}, {"colour": "red"}, {"last_event_id": "9" * 30 + ".1"}],
)
async def test_wrong_parameters_are_refused_before_the_stream(served: Rest, query: dict[str, str]) -> None:
    answer = await served.client.get(EVENTS, params=query)
    assert fields(problem(answer, 422)) <= {"subject", "Last-Event-ID", "colour"}


async def test_silence_has_heartbeats(served: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT", 0.1)
    async with listening(served) as events:
        await events.comment("still here")


async def test_a_slow_client_is_sent_away(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST_BEHIND", 20)
    stream = rest.app.feed.stream(feed.EventFilter(), None)
    assert b"connected" in await anext(stream)
    await rest.enqueue()
    assert b"event: job" in await anext(stream)
    # It takes no more while far more come in.
    await rest.client.post(f"{JOBS}/batch", json={"jobs": [{"type": "x"}] * 200})
    rest_of_it = [chunk async for chunk in stream]
    assert b"too slowly" in rest_of_it[-1]


async def test_one_reader_serves_all_and_leaves_with_the_last(rest: Rest) -> None:
    streams = [rest.app.feed.stream(feed.EventFilter(), None) for _ in range(5)]
    waiting = []
    for stream in streams:
        await anext(stream)
        waiting.append(asyncio.ensure_future(anext(stream)))
    reader = rest.app.feed._reader
    assert reader is not None
    await rest.enqueue()
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert rest.app.feed._reader is reader
    for stream in streams:
        await stream.aclose()
    await asyncio.wait([reader], timeout=60)
    assert reader.done()


async def test_log_lines_are_followed_until_the_job_is_final(served: Rest) -> None:
    job = await served.enqueue()
    path = f"{JOBS}/{job['id']}/logs"
    async with listening(served, path, params={"follow": "true"}) as events, served.running(echo):
        line = await events.next()
        assert line is not None
        assert (line["event"], line["data"]["text"], line["data"]["attempt"]) == ("log", "echoing", 1)
        end = await events.next()
        assert end is not None
        assert (end["event"], end["data"]) == ("end", {"state": "succeeded"})
        assert await events.next() is None
    async with listening(
        served, path, params={"follow": "true"}, headers={"Last-Event-ID": line["id"]}
    ) as events:
        end = await events.next()
        assert end is not None
        assert end["event"] == "end"


async def test_head_does_not_begin_a_stream(served: Rest) -> None:
    answer = await served.client.head(EVENTS)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_unknown_states_are_refused(rest: Rest) -> None:
    for state in ("nope", "dead,nope"):
        answer = await rest.client.get("/api/v1/events", params={"state": state})
        assert fields(problem(answer, 422)) == {"state"}
