"""``GET /stats``: numbers now and over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flux.api import examples
from flux.api.http import Answer, Call
from flux.api.operations import BASE, Operation, Parameter, Reply
from flux.api.rest.numbers import NUMBERS_EXAMPLE, NumbersOut, numbers_out, since
from flux.api.views import duration, instant
from flux.engine.statistics import WINDOWS, Group

if TYPE_CHECKING:
    from flux.api.app import Api


class GroupOut(msgspec.Struct):
    """One queue or type: the last minute and the whole window."""

    now: NumbersOut
    window: NumbersOut
    depth: dict[str, int]
    oldest_wait: float | None


class PointOut(msgspec.Struct):
    """One step of a chart: what ended in it, and the depth by state at its end."""

    at: str | None
    numbers: NumbersOut
    depth: dict[str, int]


class StatsOut(msgspec.Struct):
    """The last minute (``now``), the whole window, and its points. Durations are numbers of seconds."""

    at: str | None
    window: str
    step: str | None
    now: NumbersOut
    whole: NumbersOut
    depth: dict[str, int]
    oldest_wait: float | None
    sampled_at: str | None
    workers: dict[str, int]
    queues: dict[str, GroupOut]
    types: dict[str, GroupOut]
    points: list[PointOut]


class StatsResource:
    """The call for numbers."""

    def __init__(self, api: Api) -> None:
        self._engine = api.engine

    async def get(self, call: Call) -> Answer:
        """``GET /stats``."""
        window = call.one("window")
        stats = await self._engine.statistics.get("1h" if window is None else window)
        workers = [worker for worker in await self._engine.workers.list() if worker.alive]
        return Answer.json(
            StatsOut(
                at=instant(stats.at),
                window=stats.window,
                step=duration(stats.step),
                now=numbers_out(stats.now),
                whole=numbers_out(stats.whole),
                depth=stats.depth,
                oldest_wait=since(stats.oldest, stats.at),
                sampled_at=instant(stats.sampled_at),
                workers={
                    "active": len(workers),
                    "slots": sum(worker.info.slots for worker in workers),
                    "busy": sum(worker.busy for worker in workers),
                },
                queues={name: _group(group, stats.at) for name, group in stats.queues.items()},
                types={name: _group(group, stats.at) for name, group in stats.types.items()},
                points=[
                    PointOut(instant(point.at), numbers_out(point.numbers), point.depth)
                    for point in stats.points
                ],
            )
        )


def _group(group: Group, now: int) -> GroupOut:
    return GroupOut(numbers_out(group.now), numbers_out(group.window), group.depth, since(group.oldest, now))


_GROUP = {"now": NUMBERS_EXAMPLE, "window": NUMBERS_EXAMPLE, "depth": {"available": 3}, "oldest_wait": 0.4}
_EXAMPLE = {
    "at": examples.AT,
    "window": "1h",
    "step": "30s",
    "now": NUMBERS_EXAMPLE,
    "whole": NUMBERS_EXAMPLE,
    "depth": {"available": 3, "running": 2},
    "oldest_wait": 0.4,
    "sampled_at": examples.AT,
    "workers": {"active": 1, "slots": 10, "busy": 2},
    "queues": {"email": _GROUP},
    "types": {"email": {**_GROUP, "depth": {}, "oldest_wait": None}},
    "points": [{"at": examples.AT, "numbers": NUMBERS_EXAMPLE, "depth": {"available": 3}}],
}


def operations(api: Api) -> list[Operation]:
    """The operation on numbers."""
    schema = {"type": "string", "enum": list(WINDOWS), "default": "1h"}
    return [
        Operation(
            method="GET",
            path=f"{BASE}/stats",
            name="getStats",
            group="Numbers",
            summary="Totals, rates and percentiles now and over time",
            handler=StatsResource(api).get,
            query=(Parameter("window", "How far back.", schema, "1h"),),
            replies={200: Reply("The numbers.", StatsOut, _EXAMPLE)},
            problems=(422,),
        )
    ]
