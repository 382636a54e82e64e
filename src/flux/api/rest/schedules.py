"""``/schedules``: rules that make jobs again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from flux.api import bodies, examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Body, Operation, Reply
from flux.api.rest.parameters import CURSOR, limit
from flux.api.views import JobOut, instant
from flux.domain.errors import Invalid
from flux.engine.schedule_request import ScheduleRequest, parse_patch, parse_schedule
from flux.engine.schedules import ScheduleView

if TYPE_CHECKING:
    from flux.api.app import Api


class OccurrenceOut(msgspec.Struct):
    """One firing: its time and the job that it made."""

    fire_at: str | None
    job_id: str
    state: str


class ScheduleOut(ScheduleRequest, kw_only=True):
    """A schedule: the fields that it was made of, what they mean in words, and when it fires next."""

    id: str
    rule: str
    declared: bool
    version: int
    created_at: str | None
    updated_at: str | None
    next_fire_times: list[str | None]
    next_job_id: str | None
    next_fire_at: str | None
    last_fire_at: str | None
    latest: list[OccurrenceOut] | msgspec.UnsetType = msgspec.UNSET


class ScheduleList(msgspec.Struct):
    """A page of schedules in the order of their names."""

    schedules: list[ScheduleOut]
    next_cursor: str | None


class PauseScheduleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why a schedule is paused; kept as its ``note``."""

    note: str | None = None


SchedulePatch = msgspec.defstruct(
    "SchedulePatch",
    [
        (field.name, Any if field.type is msgspec.Raw else field.type | None, msgspec.UNSET)
        for field in msgspec.structs.fields(ScheduleRequest)
    ],
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "What is to change of a schedule; null gives a field its default. The name stays."},
)
"""The body of ``PATCH /schedules/{name}``, for the documentation: ``parse_patch`` reads it field by field."""


class SchedulesResource:
    """The calls on schedules."""

    def __init__(self, api: Api) -> None:
        self._schedules = api.engine.schedules
        self._jobs = api.engine.jobs
        self._around = api.surroundings
        self._max_payload = api.engine.bounds.max_payload
        self._limit = bodies.single_limit(self._max_payload)

    async def create(self, call: Call) -> Answer:
        """``POST /schedules``."""
        body = await call.body(self._limit)
        bodies.check_json(body)
        request = parse_schedule(body)
        self._check_payload(request.payload)
        view = await self._schedules.create(request)
        location = (b"location", f"{BASE}/schedules/{view.schedule.name}".encode())
        return Answer.json(schedule_out(view), 201, (location,))

    async def list(self, call: Call) -> Answer:
        """``GET /schedules``."""
        most, cursor = call.number("limit", 50, 1, 500), call.one("cursor")
        if cursor is not None and len(cursor) > 100:
            raise Invalid.one("cursor", "is none that a list gave; begin without a cursor")
        views = await self._schedules.list(cursor, most)
        following = views[-1].schedule.name if len(views) == most else None
        return Answer.json(ScheduleList([schedule_out(view) for view in views], following))

    async def get(self, call: Call) -> Answer:
        """``GET /schedules/{name}``."""
        return Answer.json(schedule_out(await self._schedules.get(call.path["name"])))

    async def change(self, call: Call) -> Answer:
        """``PATCH /schedules/{name}``."""
        body = await call.body(self._limit)
        bodies.check_json(body)
        patch = parse_patch(body)
        if not patch:
            raise Invalid.one("body", "changes nothing; give the fields to change")
        if "payload" in patch:
            self._check_payload(patch["payload"])
        return Answer.json(schedule_out(await self._schedules.update(call.path["name"], patch)))

    async def delete(self, call: Call) -> Answer:
        """``DELETE /schedules/{name}``."""
        await self._schedules.delete(call.path["name"])
        return Answer(204)

    async def pause(self, call: Call) -> Answer:
        """``POST /schedules/{name}/pause``."""
        note = (await bodies.read_action(call, PauseScheduleRequest)).note
        return Answer.json(schedule_out(await self._schedules.pause(call.path["name"], note)))

    async def resume(self, call: Call) -> Answer:
        """``POST /schedules/{name}/resume``."""
        await bodies.read_action(call, bodies.NoFields)
        return Answer.json(schedule_out(await self._schedules.resume(call.path["name"])))

    async def trigger(self, call: Call) -> Answer:
        """``POST /schedules/{name}/trigger``."""
        await bodies.read_action(call, bodies.NoFields)
        inserted = await self._schedules.trigger(call.path["name"])
        job = await self._jobs.get(inserted.id)
        location = (b"location", f"{BASE}/jobs/{job.id}".encode())
        return Answer.json(await self._around.job(job), 201, (location,))

    def _check_payload(self, payload: msgspec.Raw) -> None:
        size = len(bytes(payload))
        if size > self._max_payload:
            raise bodies.payload_too_large("payload", size, self._max_payload)


def schedule_out(view: ScheduleView) -> ScheduleOut:
    """A schedule as clients see it."""
    schedule = view.schedule
    fields: dict[str, Any] = dict(view.request)
    fields["payload"] = msgspec.Raw(msgspec.json.encode(fields.get("payload", {})))
    latest: list[OccurrenceOut] | msgspec.UnsetType = msgspec.UNSET
    if view.latest is not None:
        latest = [OccurrenceOut(instant(at), job_id, state) for at, job_id, state in view.latest]
    return ScheduleOut(
        **fields,
        id=schedule.id,
        rule=view.rule,
        declared=schedule.declared,
        version=schedule.version,
        created_at=instant(schedule.created_at),
        updated_at=instant(schedule.updated_at),
        next_fire_times=[instant(at) for at in view.upcoming],
        next_job_id=schedule.next_job_id,
        next_fire_at=instant(schedule.next_fire_at),
        last_fire_at=instant(schedule.last_fire_at),
        latest=latest,
    )


_EXAMPLE: dict[str, Any] = {
    **examples.SCHEDULE_IN,
    "id": examples.ID,
    "rule": "at 03:00 every day (Europe/Berlin)",
    "declared": False,
    "version": 1,
    "paused": False,
    "created_at": examples.AT,
    "updated_at": examples.AT,
    "next_fire_times": [f"2026-11-{day}T02:00:00.000000Z" for day in range(25, 30)],
    "next_job_id": examples.ID,
    "next_fire_at": "2026-11-25T02:00:00.000000Z",
    "last_fire_at": None,
    "latest": [],
}


def operations(api: Api) -> list[Operation]:
    """The operations on schedules."""
    schedules = SchedulesResource(api)
    one = f"{BASE}/schedules/{{name}}"
    reply = {200: Reply("The schedule.", ScheduleOut, _EXAMPLE)}
    return [
        Operation(
            method="POST",
            path=f"{BASE}/schedules",
            name="createSchedule",
            group="Schedules",
            summary="Create a schedule",
            about="When: one of `cron`, `every` and `at`. The job's fields stand beside, or in an object `job`.",
            handler=schedules.create,
            body=Body(ScheduleRequest, examples.SCHEDULE_IN),
            replies={201: Reply("It was made.", ScheduleOut, _EXAMPLE, headers={"Location": "Where it is."})},
            problems=(400, 409, 413, 415, 422),
        ),
        Operation(
            method="GET",
            path=f"{BASE}/schedules",
            name="listSchedules",
            group="Schedules",
            summary="List schedules by name",
            handler=schedules.list,
            query=(limit(500, 50), CURSOR),
            replies={200: Reply("A page.", ScheduleList, {"schedules": [_EXAMPLE], "next_cursor": None})},
            problems=(422,),
        ),
        Operation(
            method="GET",
            path=one,
            name="getSchedule",
            group="Schedules",
            summary="Read a schedule with its next five fire times",
            handler=schedules.get,
            replies=reply,
            problems=(404,),
        ),
        Operation(
            method="PATCH",
            path=one,
            name="changeSchedule",
            group="Schedules",
            summary="Change a schedule",
            about="Only what is given is changed; null gives a field its default.",
            handler=schedules.change,
            body=Body(SchedulePatch, {"cron": "0 4 * * *", "overlap": "allow"}),
            replies=reply,
            problems=(400, 404, 409, 413, 415, 422),
        ),
        Operation(
            method="DELETE",
            path=one,
            name="deleteSchedule",
            group="Schedules",
            summary="Delete a schedule",
            about="Its waiting occurrence is withdrawn; those that ran stay.",
            handler=schedules.delete,
            replies={204: Reply("It is gone.")},
            problems=(404,),
        ),
        Operation(
            method="POST",
            path=f"{one}/pause",
            name="pauseSchedule",
            group="Schedules",
            summary="Pause a schedule",
            about="Its waiting occurrence is withdrawn.",
            handler=schedules.pause,
            body=Body(PauseScheduleRequest, {"note": "until the audit is over"}, required=False),
            replies=reply,
            problems=(404, 409, *bodies.ACTION_PROBLEMS),
        ),
        Operation(
            method="POST",
            path=f"{one}/resume",
            name="resumeSchedule",
            group="Schedules",
            summary="Resume a schedule",
            about="What was missed while it was paused stays missed.",
            handler=schedules.resume,
            replies=reply,
            problems=(404, 409, *bodies.ACTION_PROBLEMS),
        ),
        Operation(
            method="POST",
            path=f"{one}/trigger",
            name="triggerSchedule",
            group="Schedules",
            summary="Run a schedule's job once, now",
            handler=schedules.trigger,
            replies={201: Reply("The job.", JobOut, examples.JOB, headers={"Location": "Where the job is."})},
            problems=(404, 429, *bodies.ACTION_PROBLEMS),
        ),
    ]
