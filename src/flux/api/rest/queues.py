"""``/queues``: look, pause, resume, bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flux.api import bodies, examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Body, Operation, Reply
from flux.api.rest.numbers import NUMBERS_EXAMPLE, NumbersOut, numbers_out, since
from flux.api.views import instant
from flux.domain.errors import Invalid
from flux.domain.job import LIVE, JobState
from flux.engine.ports import QueueView
from flux.engine.queues import QueueChange
from flux.engine.statistics import Group

if TYPE_CHECKING:
    from flux.api.app import Api

_LIMIT = 64 << 10
_STATES = [state.value for state in JobState if state in LIVE]


class QueueOut(msgspec.Struct):
    """A queue: what people set on it, its depth by state, how long its oldest job waits, and its numbers.

    ``depth`` and ``oldest_wait`` (seconds) are sampled each second. ``now`` is the last minute, ``hour`` the last hour;
    null when nothing of the queue ended in that hour.
    """

    name: str
    paused: bool
    paused_at: str | None
    paused_by: str | None
    max_depth: int | None
    depth: dict[str, int]
    oldest_wait: float | None
    sampled_at: str | None
    now: NumbersOut | None
    hour: NumbersOut | None


class QueueList(msgspec.Struct):
    """All queues, by name."""

    queues: list[QueueOut]


class PauseQueueRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who pauses a queue; shown as ``paused_by``."""

    by: str | None = None


class QueuesResource:
    """The calls on queues."""

    def __init__(self, api: Api) -> None:
        self._engine = api.engine
        self._around = api.surroundings

    async def list(self, call: Call) -> Answer:
        """``GET /queues``."""
        views = await self._engine.queues.list()
        stats = await self._engine.statistics.get()
        now = await self._engine.store.now()
        queues = [queue_out(view, stats.queues.get(view.settings.name), now) for view in views]
        return Answer.json(QueueList(queues))

    async def get(self, call: Call) -> Answer:
        """``GET /queues/{queue}``."""
        return await self._answer(call.path["queue"])

    async def pause(self, call: Call) -> Answer:
        """``POST /queues/{queue}/pause``."""
        by = (await bodies.read_action(call, PauseQueueRequest)).by
        if by is not None and (not 1 <= len(by) <= 100 or "\0" in by):
            raise Invalid.one("by", "has 1 to 100 characters, none of them NUL")
        await self._engine.queues.pause(call.path["queue"], by)
        self._around.changed()
        return await self._answer(call.path["queue"])

    async def resume(self, call: Call) -> Answer:
        """``POST /queues/{queue}/resume``."""
        await bodies.read_action(call, bodies.NoFields)
        await self._engine.queues.resume(call.path["queue"])
        self._around.changed()
        return await self._answer(call.path["queue"])

    async def change(self, call: Call) -> Answer:
        """``PATCH /queues/{queue}``."""
        change = bodies.read(await call.body(_LIMIT), QueueChange)
        if change.paused is msgspec.UNSET and change.max_depth is msgspec.UNSET:
            raise Invalid.one("body", "changes nothing; give paused or max_depth")
        if isinstance(change.max_depth, int) and change.max_depth >= 1 << 53:
            raise Invalid.one("max_depth", "is too large; null lifts the bound")
        await self._engine.queues.change(call.path["queue"], change)
        self._around.changed()
        return await self._answer(call.path["queue"])

    async def _answer(self, name: str) -> Answer:
        view = await self._engine.queues.get(name)
        stats = await self._engine.statistics.get()
        return Answer.json(queue_out(view, stats.queues.get(name), await self._engine.store.now()))


def queue_out(view: QueueView, group: Group | None, now: int) -> QueueOut:
    """A queue as clients see it. ``group``: what of it ended within the last hour."""
    settings = view.settings
    return QueueOut(
        name=settings.name,
        paused=settings.paused,
        paused_at=instant(settings.paused_at),
        paused_by=settings.paused_by,
        max_depth=settings.max_depth,
        depth={state: view.depth.get(state, 0) for state in _STATES},
        oldest_wait=since(view.oldest, now),
        sampled_at=instant(view.sampled_at),
        now=None if group is None else numbers_out(group.now),
        hour=None if group is None else numbers_out(group.window),
    )


_EXAMPLE = {
    "name": "email",
    "paused": False,
    "paused_at": None,
    "paused_by": None,
    "max_depth": 100000,
    "depth": {"blocked": 0, "scheduled": 3, "available": 12, "running": 5, "retrying": 0},
    "oldest_wait": 1.2,
    "sampled_at": examples.AT,
    "now": NUMBERS_EXAMPLE,
    "hour": NUMBERS_EXAMPLE,
}


def operations(api: Api) -> list[Operation]:
    """The operations on queues."""
    queues = QueuesResource(api)
    one = f"{BASE}/queues/{{queue+}}"
    reply = {200: Reply("The queue.", QueueOut, _EXAMPLE)}
    return [
        Operation(
            method="GET",
            path=f"{BASE}/queues",
            name="listQueues",
            group="Queues",
            summary="List queues",
            handler=queues.list,
            replies={200: Reply("All queues.", QueueList, {"queues": [_EXAMPLE]})},
        ),
        Operation(
            method="POST",
            path=f"{one}/pause",
            name="pauseQueue",
            group="Queues",
            summary="Pause a queue",
            about="None of its jobs is started until it is resumed; those that run go on.",
            handler=queues.pause,
            body=Body(PauseQueueRequest, {"by": "ada"}, required=False),
            replies=reply,
            problems=bodies.ACTION_PROBLEMS,
        ),
        Operation(
            method="POST",
            path=f"{one}/resume",
            name="resumeQueue",
            group="Queues",
            summary="Resume a queue",
            handler=queues.resume,
            replies=reply,
            problems=bodies.ACTION_PROBLEMS,
        ),
        Operation(
            method="GET",
            path=one,
            name="getQueue",
            group="Queues",
            summary="Read a queue",
            about="A job makes its queue, and so does a setting; one that neither made is not found.",
            handler=queues.get,
            replies=reply,
            problems=(404, 422),
        ),
        Operation(
            method="PATCH",
            path=one,
            name="changeQueue",
            group="Queues",
            summary="Change a queue",
            about="`max_depth` bounds its waiting jobs: past it enqueues are answered with 429. null lifts the bound.",
            handler=queues.change,
            body=Body(QueueChange, {"max_depth": 100000}, about="Only what is given is changed."),
            replies=reply,
            problems=(400, 413, 415, 422),
        ),
    ]
