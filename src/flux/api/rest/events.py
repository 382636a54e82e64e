"""``GET /events``: changes as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.api import examples
from flux.api.feed import EventFilter, event_order
from flux.api.http import Call, Stream
from flux.api.operations import BASE, Operation, Parameter, Reply
from flux.domain.errors import Invalid
from flux.domain.job import JobState

if TYPE_CHECKING:
    from flux.api.app import Api

SUBJECTS = ("job", "queue", "worker", "schedule", "workflow")

STATES = frozenset(JobState) | {
    "alive",
    "draining",
    "left",
    "paused",
    "resumed",
    "created",
    "changed",
    "deleted",
}
"""What jobs, workers, queues and schedules come to."""


class EventsResource:
    """The call for events."""

    def __init__(self, api: Api) -> None:
        self._feed = api.feed

    async def follow(self, call: Call) -> Stream:
        """``GET /events``."""
        after = call.header(b"last-event-id") or call.one("last_event_id")
        if after is not None:
            event_order(after)
        subjects = frozenset(_parts(call, "subject"))
        for subject in subjects - set(SUBJECTS):
            raise Invalid.one("subject", f"{subject[:50]!r} is not one of {', '.join(SUBJECTS)}")
        states = frozenset(_parts(call, "state"))
        for state in states - STATES:
            raise Invalid.one("state", f"{state[:50]!r} is not one of {', '.join(sorted(STATES))}")
        wanted = EventFilter(
            subjects=subjects,
            states=states,
            queue=call.one("queue"),
            type=call.one("type"),
            job_id=call.one("job_id"),
        )
        return Stream(self._feed.stream(wanted, after))


def _parts(call: Call, name: str) -> list[str]:
    return [part for value in call.query.get(name, ()) for part in value.split(",") if part]


def operations(api: Api) -> list[Operation]:
    """The operation on events."""
    many = {"type": "array", "items": {"type": "string"}}
    last = "The id of the last event that was seen: what came after it is sent first."
    return [
        Operation(
            method="GET",
            path=f"{BASE}/events",
            name="followEvents",
            group="Events",
            summary="Follow changes (server-sent events)",
            about="The event's name is its subject. A comment comes every 15 s when nothing happens. A client that "
            "reads too slowly is sent away and comes back with `Last-Event-ID`.",
            handler=EventsResource(api).follow,
            query=(
                Parameter("subject", f"Only these: {', '.join(SUBJECTS)}.", many, ["job"], repeatable=True),
                Parameter("state", "Only changes to these states.", many, ["dead"], repeatable=True),
                Parameter("queue", "Only this queue and its jobs.", example="email"),
                Parameter("type", "Only jobs of this type.", example="email"),
                Parameter("job_id", "Only this job.", example=examples.ID),
                Parameter("last_event_id", last, example="812.0"),
                Parameter("Last-Event-ID", last, example="812.0", header=True),
            ),
            replies={200: Reply("Events.", str, examples.EVENT, "text/event-stream")},
            problems=(422,),
        )
    ]
