"""Numbers over time, from the store's rollups, in the shape that the charts take."""

from __future__ import annotations

import msgspec

from flux.dashboard.site import Site
from flux.domain.duration import SECOND
from flux.engine.statistics import WINDOWS, Point, Statistics

__all__ = ["WINDOWS", "Chart", "charts_of", "rates_by_queue"]


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: seconds since the epoch and a series of values each. ``words`` says the same without a picture.

    The unit ``s`` is written with each value, as µs, ms, s, min or h; others are said once, beside the title.
    """

    id: str
    title: str
    unit: str
    at: list[int]
    series: list[Series]
    words: str = ""

    @property
    def json(self) -> str:
        """What the script draws."""
        return msgspec.json.encode({"unit": self.unit, "at": self.at, "series": self.series}).decode()

    @property
    def heading(self) -> str:
        """The title with the unit, where the values do not have it."""
        return self.title if self.unit == "s" else f"{self.title}, {self.unit}"

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for one in self.series for value in one.values)


class Series(msgspec.Struct, frozen=True):
    """One line of a chart; ``look`` names its colour."""

    label: str
    look: str
    values: list[float | None]


async def rates_by_queue(site: Site) -> dict[str, tuple[float, float]]:
    """Queue: jobs that ended and that died a minute, over the last minute."""
    hour = await site.engine.statistics.get("1h")
    return {
        name: (
            group.now.per_second * 60,
            group.now.per_second * 60 * group.now.outcomes.get("dead", 0) / max(group.now.finished, 1),
        )
        for name, group in hour.queues.items()
    }


def charts_of(statistics: Statistics) -> list[Chart]:
    """The four charts of the overview."""
    points = statistics.points
    at = [point.at // SECOND for point in points]
    per_minute = 60 * SECOND / statistics.step

    def rate(state: str) -> list[float | None]:
        return [round(point.numbers.outcomes.get(state, 0) * per_minute, 2) for point in points]

    def wait(q: str) -> list[float | None]:
        values = [getattr(point.numbers.wait, q) for point in points]
        return [None if value is None else value / SECOND for value in values]

    def run(q: str) -> list[float | None]:
        values = [getattr(point.numbers.run, q) for point in points]
        return [None if value is None else value / SECOND for value in values]

    return [
        Chart(
            id="ended", title="Jobs ended", unit="per minute", at=at,
            series=[Series("succeeded", "good", rate("succeeded")), Series("dead", "bad", rate("dead"))],
        ),
        Chart(
            id="wait", title="Wait before start", unit="s", at=at,
            series=[Series("p50", "ready", wait("p50")), Series("p95", "again", wait("p95"))],
        ),
        Chart(
            id="depth", title="Depth", unit="in jobs", at=at,
            series=[
                Series("available", "ready", _carried(points, ("available",))),
                Series("running", "run", _carried(points, ("running",))),
                Series("later", "wait", _carried(points, ("scheduled", "retrying", "blocked"))),
            ],
        ),
        Chart(
            id="run", title="Time to run", unit="s", at=at,
            series=[Series("p50", "ready", run("p50")), Series("p95", "again", run("p95"))],
        ),
    ]  # fmt: skip


def _carried(points: list[Point], states: tuple[str, ...]) -> list[float | None]:
    """A depth holds until the next sample: samples are taken only while something changes."""
    values: list[float | None] = []
    last: float | None = None
    for point in points:
        if point.depth:
            last = float(sum(point.depth.get(state, 0) for state in states))
        values.append(last)
    return values
