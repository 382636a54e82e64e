"""Schedules: when something runs again and again, and what happens when a time was missed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Struct

from flux.domain.cron import CronError, CronExpression
from flux.domain.duration import (
    DAY,
    MILLISECOND,
    MINUTE,
    SECOND,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_DAY_SECONDS: Final = 86_400
_END_OF_TIME: Final = 250_000_000_000  # seconds; in the year 9892, short of what datetime can say
_SHORTEST_INTERVAL: Final = 100 * MILLISECOND

_Written = TypeVar("_Written")


class ScheduleError(ValueError):
    """A schedule that makes no sense; `field` names the part, such as "cron" or "timezone"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Misfire(StrEnum):
    """What becomes of fire times that nobody was there for."""

    RUN_ONCE = "run_once"
    """One late run stands for all that is due."""
    SKIP = "skip"
    """They are forgotten."""
    RUN_ALL = "run_all"
    """Each of them runs, late."""


class Overlap(StrEnum):
    """What happens when a fire time comes while the previous occurrence still runs."""

    ALLOW = "allow"
    """Both run."""
    SKIP = "skip"
    """The new one is left out."""
    CANCEL_PREVIOUS = "cancel_previous"
    """The running one is cancelled and the new one runs."""


class Rule(Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True):
    """When a schedule fires. Times are microseconds since the epoch."""

    def next_after(self, after: int) -> int | None:
        """Return the first fire time strictly after an instant; None when there is none."""
        raise NotImplementedError

    def describe(self) -> str:
        """Say it in words, for people."""
        raise NotImplementedError

    def upcoming(self, after: int, n: int) -> list[int]:
        """Return the next n fire times after an instant, fewer when the rule ends."""
        return _upcoming(self, after, n)


class Cron(Rule, frozen=True, tag="cron", dict=True):
    """Fires when the clocks of a place show the times of a cron expression.

    Where daylight saving moves the clocks, each local time fires once: a skipped one at the instant
    after the gap, a repeated one at its first pass. Two kinds follow real time instead, because they
    mean "every so often": an expression for every hour ("0 * * * *") takes no notice of the gap, and
    that one and any with a minute of "*" or "*/n" fire in both passes of a repeated hour.

    Raises ScheduleError when the expression or the zone is not known, or can never fire.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            _ = self._parsed
        except CronError as error:
            raise ScheduleError("cron", str(error)) from None
        _ = self._zone

    # Derived once per object; a struct's own fields stay what was written (equality, JSON).
    @cached_property
    def _parsed(self) -> CronExpression:
        return CronExpression.parse(self.expression)

    @cached_property
    def _zone(self) -> ZoneInfo:
        return _zone(self.timezone)

    def next_after(self, after: int) -> int | None:
        """Return the first fire time strictly after an instant (and not before 1970).

        It goes through stretches of time in which the zone's offset stays the same, since only there
        local time and real time run alike.
        """
        second = max(after // SECOND + 1, 0)
        while second < _END_OF_TIME:
            # A day back, because clocks that fall back past midnight show yesterday's date again.
            day = self._parsed.next_day((second + self._offset(second)) // _DAY_SECONDS - 1)
            if day is None:
                return None
            # Far dates are jumped to; no zone is more than a day away from UTC.
            second = max(second, (day - 1) * _DAY_SECONDS)
            end = self._end_of_stretch(second)
            found = self._first_within(second, end)
            if found is not None:
                return found * SECOND
            second = end
        return None

    def describe(self) -> str:
        """Say it in words ("at 02:30 every day (Europe/Berlin)"), or give the expression."""
        return f"{self._parsed.describe()} ({self.timezone})"

    def _first_within(self, start: int, end: int) -> int | None:
        """Return the first firing second in [start, end), which has one offset."""
        parsed = self._parsed
        offset, before = self._offset(start), self._offset(start - 1)
        skips = before < offset and not parsed.every_hour
        if skips and parsed.next_local(start + before, start + offset) is not None:
            return start  # the clocks have just jumped: what they left out is due now
        if self._repeats(start) and not (parsed.every_hour or parsed.every_minute_field):
            start += bisect_left(range(start, end), True, key=lambda second: not self._repeats(second))
        local = parsed.next_local(start + offset, end + offset)
        return None if local is None else local - offset

    def _end_of_stretch(self, start: int) -> int:
        """Return when the offset changes after a second, at most a day later."""
        offset, end = self._offset(start), start + _DAY_SECONDS
        if self._offset(end) == offset:
            return end
        return start + bisect_left(range(start, end), True, key=lambda second: self._offset(second) != offset)

    def _offset(self, second: int) -> int:
        """Return local time minus UTC, in seconds."""
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        assert offset is not None  # the zone always knows
        return offset.days * _DAY_SECONDS + offset.seconds

    def _repeats(self, second: int) -> bool:
        """Say whether the clocks show a time for the second time."""
        return datetime.fromtimestamp(second, self._zone).fold == 1


class Every(Rule, frozen=True, tag="every"):
    """Fires at anchor + k * interval for every whole k: late runs and restarts do not make it drift.

    Raises ScheduleError when the interval is shorter than 100 ms.
    """

    interval: int
    anchor: int = 0

    def __post_init__(self) -> None:
        if self.interval < _SHORTEST_INTERVAL:
            raise ScheduleError("every", f"must be at least {format_duration(_SHORTEST_INTERVAL)}")

    def next_after(self, after: int) -> int | None:
        """Return the first fire time strictly after an instant."""
        return after + self.interval - (after - self.anchor) % self.interval

    def describe(self) -> str:
        """Say it in words: "every 5m"."""
        return f"every {format_duration(self.interval)}"


class Once(Rule, frozen=True, tag="once"):
    """Fires at one instant and never again."""

    at: int

    def next_after(self, after: int) -> int | None:
        """Return the instant as long as it lies ahead."""
        return self.at if self.at > after else None

    def describe(self) -> str:
        """Say it in words: "once at 2026-11-24T19:33:54.000000Z"."""
        return f"once at {format_instant(self.at)}"


class ScheduleSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A schedule as it is stored: when it fires, by which policies, and the job that it makes.

    It fires from `start_at` to `end_at`, both included. `job` is the request of the jobs to make (type,
    payload, queue, ...), opaque here. Durations and times are microseconds.

    Raises ScheduleError, which names the field.
    """

    name: str
    rule: Cron | Every | Once
    job: dict[str, Any]
    misfire: Misfire = Misfire.RUN_ONCE
    misfire_grace: int = MINUTE
    """How late a fire time may be taken up and still count as on time."""
    overlap: Overlap = Overlap.ALLOW
    jitter: int = 0
    """Occurrences are delayed by a random time up to this, so that schedules do not run in step."""
    start_at: int | None = None
    end_at: int | None = None
    paused: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ScheduleError(
                "name", "must be 1 to 100 letters, digits or _.:- and start with a letter or digit"
            )
        if not 0 <= self.jitter <= DAY:
            raise ScheduleError("jitter", "must not be negative nor longer than a day")
        if self.misfire_grace < 0:
            raise ScheduleError("misfire_grace", "must not be negative")
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise ScheduleError("end_at", "must not be before start_at")

    @property
    def timezone(self) -> str:
        """The zone whose clocks the rule reads; UTC for rules that read none."""
        return self.rule.timezone if isinstance(self.rule, Cron) else "UTC"

    def next_after(self, after: int) -> int | None:
        """Return the first fire time strictly after an instant, within start and end."""
        if self.start_at is not None:
            after = max(after, self.start_at - 1)
        fire = self.rule.next_after(after)
        return None if fire is None or (self.end_at is not None and fire > self.end_at) else fire

    def upcoming(self, after: int, n: int) -> list[int]:
        """Return the next n fire times after an instant, within start and end."""
        return _upcoming(self, after, n)

    def fires_due(self, next_fire: int, now: int, limit: int) -> tuple[list[int], int | None]:
        """Return the fire times to run now, and the one to wait for (None when there is none).

        `next_fire` is what the schedule waited for. A fire time is misfired when it is later than
        `misfire_grace` after the end of its jitter. By the policy

        - run_once runs, as soon as one is misfired, only the newest that is due;
        - skip runs those that are not misfired;
        - run_all runs every one.

        At most `limit` are returned. When more have to run, the second value is the first of them and
        lies in the past: call again. A paused schedule runs nothing and goes on in the future.
        """
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if self.paused:
            return [], self.next_after(now)
        # Found anew, because start, end or the rule may have changed since.
        first = self.next_after(next_fire - 1)
        if first is None or first > now:
            return [], first
        on_time_from = now - self.misfire_grace - self.jitter
        if first < on_time_from:
            if self.misfire is Misfire.RUN_ONCE:
                return [self._newest(first, now)], self.next_after(now)
            if self.misfire is Misfire.SKIP:
                first = self.next_after(on_time_from - 1)
        due: list[int] = []
        fire = first
        while fire is not None and fire <= now and len(due) < limit:
            due.append(fire)
            fire = self.next_after(fire)
        return due, fire

    def occurrence_at(self, fire_at: int, random: float) -> int:
        """Return when the occurrence of a fire time runs, given a random number in [0, 1)."""
        return fire_at + int(self.jitter * random)

    def _newest(self, fire: int, now: int) -> int:
        """Return the last fire time up to now, given an earlier one.

        By halving what is left: a year of missed seconds takes no more steps than a missed minute.
        """
        empty_from = now  # no fire time lies in (empty_from, now]
        while fire < empty_from:
            middle = (fire + empty_from) // 2
            later = self.next_after(middle)
            if later is not None and later <= now:
                fire = later
            else:
                empty_from = middle
        return fire


def parse_rule(
    *,
    cron: str | None = None,
    every: str | int | float | timedelta | None = None,
    at: str | datetime | None = None,
    timezone: str | None = None,
    anchor: int = 0,
) -> Cron | Every | Once:
    """Return the rule that exactly one of `cron`, `every` and `at` describes.

    `timezone` (default UTC) belongs to cron, since only that reads clocks; `anchor` (microseconds since the
    epoch) to every. A cron of "@every 5m" is an interval. Raises ScheduleError, which names the field.
    """
    if sum(value is not None for value in (cron, every, at)) != 1:
        raise ScheduleError("cron", "give exactly one of cron, every and at")
    if cron is not None:
        if cron.strip().lower().startswith("@every "):
            if timezone not in (None, "UTC"):
                raise ScheduleError("timezone", "changes nothing for an interval: leave it out")
            return Every(_reading("cron", parse_duration, cron.strip()[len("@every ") :]), anchor)
        return Cron(cron, timezone or "UTC")
    if timezone is not None:
        raise ScheduleError(
            "timezone", "belongs to cron: an interval or an instant is the same in all of them"
        )
    if every is not None:
        return Every(_reading("every", parse_duration, every), anchor)
    assert at is not None
    return Once(_reading("at", parse_instant, at))


def _reading(field: str, parse: Callable[[_Written], int], written: _Written) -> int:
    """Parse a part of a schedule, and name the part when that fails."""
    try:
        return parse(written)
    except ValueError as error:
        raise ScheduleError(field, str(error)) from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    # A folder of the database, such as "Europe", fails as a file; a path outside of it as a value.
    except (KeyError, ValueError, OSError):
        raise ScheduleError(
            "timezone", f'"{name[:50]}" is not a known time zone; write it like "Europe/Berlin" or "UTC"'
        ) from None


def _upcoming(source: Rule | ScheduleSpec, after: int, n: int) -> list[int]:
    fires: list[int] = []
    while len(fires) < n and (fire := source.next_after(after)) is not None:
        fires.append(fire)
        after = fire
    return fires
