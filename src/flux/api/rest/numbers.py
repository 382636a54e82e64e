"""Statistics as JSON, shared by queues and the page of numbers. Durations are numbers of seconds, ready for a chart."""

from __future__ import annotations

import msgspec

from flux.domain.duration import SECOND
from flux.engine.tallies import Numbers, Times


class TimesOut(msgspec.Struct):
    """Percentiles in seconds; null when nothing was counted."""

    p50: float | None
    p95: float | None
    p99: float | None


class NumbersOut(msgspec.Struct):
    """What ended: how many, by final state, failures by kind, per second; how long jobs waited and ran."""

    finished: int
    outcomes: dict[str, int]
    errors: dict[str, int]
    per_second: float
    wait: TimesOut
    run: TimesOut


def numbers_out(numbers: Numbers) -> NumbersOut:
    """For JSON."""
    return NumbersOut(
        numbers.finished,
        numbers.outcomes,
        numbers.errors,
        numbers.per_second,
        _times(numbers.wait),
        _times(numbers.run),
    )


def seconds(us: int | None) -> float | None:
    """Microseconds as seconds."""
    return None if us is None else us / SECOND


def since(us: int | None, now: int) -> float | None:
    """How many seconds ago; never negative, since clocks differ a little."""
    return None if us is None else max(now - us, 0) / SECOND


def _times(times: Times) -> TimesOut:
    return TimesOut(seconds(times.p50), seconds(times.p95), seconds(times.p99))


TIMES_EXAMPLE = {"p50": 0.002, "p95": 0.011, "p99": 0.04}
NUMBERS_EXAMPLE = {
    "finished": 1200,
    "outcomes": {"succeeded": 1190, "dead": 10},
    "errors": {"exception": 10},
    "per_second": 20.0,
    "wait": TIMES_EXAMPLE,
    "run": TIMES_EXAMPLE,
}
