"""``GET /jobs/{id}/logs``: what the handler logged, at once or as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from flux.api import examples, sse
from flux.api.http import Answer, Call, Stream, encode
from flux.api.operations import BASE, Operation, Parameter, Reply
from flux.api.rest.parameters import BOOLEAN, limit
from flux.api.views import instant
from flux.domain.errors import Invalid, NotFound, Unavailable
from flux.domain.job import FINAL, LogLine
from flux.engine.ports import Store

if TYPE_CHECKING:
    from flux.api.app import Api

_PAGE = 500
_LONGEST_SLEEP = 1.0
_SHORTEST_SLEEP = 0.05


class LogOut(msgspec.Struct):
    """One line. ``seq`` numbers the lines of a job."""

    seq: int
    attempt: int
    at: str | None
    level: str
    text: str


class LogPage(msgspec.Struct):
    """Lines, oldest first; ``next_cursor`` when there may be more."""

    logs: list[LogOut]
    next_cursor: str | None


class LogsResource:
    """The call for log lines."""

    def __init__(self, api: Api) -> None:
        self._jobs = api.engine.jobs
        self._store: Store = api.engine.store

    async def get(self, call: Call) -> Answer | Stream:
        """``GET /jobs/{id}/logs``."""
        job_id = call.path["id"]
        most, follow = call.number("limit", _PAGE, 1, 5000), call.flag("follow")
        after = call.number("cursor", 0, 0, 10**17)
        if follow and (seen := call.header(b"last-event-id")):
            if not (seen.isascii() and seen.isdecimal() and len(seen) < 18):
                raise Invalid.one("Last-Event-ID", "is not the number of a line")
            after = int(seen)
        await self._jobs.get(job_id)
        if follow:
            return Stream(self._follow(job_id, after))
        lines = await self._jobs.logs(job_id, after, most)
        following = str(lines[-1][0]) if len(lines) == most else None
        return Answer.json(LogPage([log_out(*line) for line in lines], following))

    async def _follow(self, job_id: str, after: int) -> AsyncIterator[bytes]:
        yield sse.HELLO
        changes = self._store.changes
        spoke = time.monotonic()
        while True:
            seen = changes.version()
            try:
                # The state first: lines are kept no later than the end, so after a final state none can follow.
                state = (await self._store.queries.states([job_id])).get(job_id)
                lines = await self._jobs.logs(job_id, after, _PAGE)
            except (Unavailable, NotFound):
                lines, state = [], None
                yield sse.comment("the store is away, trying again")
            else:
                if lines:
                    spoke, after = time.monotonic(), lines[-1][0]
                    yield b"".join(
                        sse.event(encode(log_out(*line)), name="log", id=str(line[0])) for line in lines
                    )
                if len(lines) == _PAGE:
                    continue
                if state is None or state in FINAL:
                    yield sse.event(encode({"state": state}), name="end", id=str(after))
                    return
            await changes.wait(seen, _LONGEST_SLEEP)
            # A busy store changes all the time; lines that come together are read together.
            await asyncio.sleep(_SHORTEST_SLEEP)
            if time.monotonic() - spoke >= sse.HEARTBEAT:
                spoke = time.monotonic()
                yield sse.BEAT


def log_out(seq: int, attempt: int, line: LogLine) -> LogOut:
    """A line as clients see it."""
    return LogOut(seq, attempt, instant(line.at), line.level, line.text)


def operations(api: Api) -> list[Operation]:
    """The operation on log lines."""
    line = {"seq": 1, "attempt": 1, "at": examples.AT, "level": "info", "text": "sent"}
    return [
        Operation(
            method="GET",
            path=f"{BASE}/jobs/{{id}}/logs",
            name="getJobLogs",
            group="Jobs",
            summary="Read what a job's handler logged",
            about="With `follow=true` lines come as server-sent events `log` until the job is final; then `end` says "
            "how it stands. Such a stream goes on after the line of `Last-Event-ID`.",
            handler=LogsResource(api).get,
            query=(
                limit(5000, _PAGE),
                Parameter(
                    "cursor", "Go on after the line with this number.", {"type": "integer", "minimum": 0}, 0
                ),
                Parameter("follow", "Stream the lines.", BOOLEAN, False),
                Parameter("Last-Event-ID", "The last line that was seen.", example="17", header=True),
            ),
            replies={200: Reply("The lines.", LogPage, {"logs": [line], "next_cursor": None})},
            problems=(404, 422),
        )
    ]
