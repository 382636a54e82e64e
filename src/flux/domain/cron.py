"""Cron expressions: which local dates and times of day they name. Time zones are `schedule.py`'s part."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import date
from typing import Final, NamedTuple

from msgspec import Struct

_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86_400  # seconds: cron's grain
_YEARS: Final = 50  # no date is farther from the next of its kind (29 February on a Sunday: 40 years)
_LONGEST: Final = 256

_NICKNAMES: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class CronError(ValueError):
    """An expression that is no cron expression, or one that never fires."""


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: Mapping[str, int] = {}


_SECOND: Final = _Field("second", 0, 59)
_MINUTE: Final = _Field("minute", 0, 59)
_HOUR: Final = _Field("hour", 0, 23)
_DATE: Final = _Field("day of month", 1, 31)
_MONTH: Final = _Field("month", 1, 12, {name[:3].upper(): number for number, name in enumerate(_MONTHS, 1)})
_WEEKDAY: Final = _Field("day of week", 0, 6, {name[:3].upper(): number for number, name in enumerate(_DAYS)})


class CronExpression(Struct, frozen=True):
    """A parsed expression: a set per field. Weekdays count from Sunday = 0.

    Days are counted from 1970-01-01, local times in seconds from its midnight, both without any zone.
    """

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    dates: frozenset[int]
    last_date: bool  # "L": the last day of the month
    months: frozenset[int]
    weekdays: frozenset[int]
    nth_weekdays: frozenset[tuple[int, int]]  # "MON#2" is (1, 2), "FRIL" (the month's last) is (5, -1)
    both_days: bool  # date AND weekday must match, as when one of them is a star; else one is enough
    every_minute_field: bool  # the minute is written "*" or "*/n"

    @classmethod
    def parse(cls, text: str) -> CronExpression:
        """Read five fields (minute hour day month weekday), six (a second before them) or "@daily" etc.

        A field takes `*`, numbers, names (JAN, MON), ranges, steps and lists of them; the day of month
        also `L`, the day of week also `MON#2` and `FRIL`; 7 is Sunday. Case does not matter.

        Raises CronError, which names the field, also when no date in 50 years could match.
        """
        if len(text) > _LONGEST:
            raise CronError(f"a cron expression has at most {_LONGEST} characters")
        shown = " ".join(text.split())
        if shown.startswith("@") and shown.lower() not in _NICKNAMES:
            raise CronError(f'"{shown}" is not known; use one of {", ".join(_NICKNAMES)}')
        fields = _NICKNAMES.get(shown.lower(), shown).upper().split()
        if len(fields) not in (5, 6):
            raise CronError(
                f'"{shown}" has {len(fields)} fields; write 5 (minute hour day month weekday)'
                ' like "30 2 * * *", or 6 with seconds first'
            )
        second, minute, hour, day, month, weekday = ["0", *fields][-6:]
        dates = [part for part in day.split(",") if part != "L"]
        nths, plain = _split_nth(weekday)
        expression = cls(
            text=shown,
            seconds=tuple(sorted(_values(second, _SECOND))),
            minutes=tuple(sorted(_values(minute, _MINUTE))),
            hours=tuple(sorted(_values(hour, _HOUR))),
            dates=_values(",".join(dates), _DATE) if dates else frozenset(),
            last_date="L" in day.split(","),
            months=_values(month, _MONTH),
            weekdays=_values(plain, _WEEKDAY) if plain is not None else frozenset(),
            nth_weekdays=nths,
            both_days=day[0] in "*?" or weekday[0] in "*?",
            every_minute_field=minute[0] == "*",
        )
        # From a leap year on, so that every date of the calendar falls on every weekday within reach.
        if expression.next_day(date(2000, 1, 1).toordinal() - _EPOCH) is None:
            raise CronError(f'"{shown}" never fires: no such date exists')
        return expression

    @property
    def every_hour(self) -> bool:
        """Whether it fires in each hour of its days."""
        return len(self.hours) == 24

    def next_day(self, day: int) -> int | None:
        """Return the first matching day, this one included; None when 50 years have none."""
        start = date.fromordinal(day + _EPOCH)
        year, month, first = start.year, start.month, start.day
        for _ in range(_YEARS * 12 + 1):
            if month in self.months:
                weekday, length = monthrange(year, month)  # of the 1st, Monday = 0
                for number in range(first, length + 1):
                    if self._matches(number, (weekday + number) % 7, length):
                        return date(year, month, number).toordinal() - _EPOCH
            year, month, first = year + month // 12, month % 12 + 1, 1
            if year > 9998:
                break
        return None

    def next_local(self, start: int, end: int) -> int | None:
        """Return the first matching local time in [start, end)."""
        today, time = divmod(start, _DAY)
        day = self.next_day(today)
        if day is None or day * _DAY >= end:
            return None
        found = self._next_time(time if day == today else 0)
        if found is None:  # nothing is left of today
            day = self.next_day(day + 1)
            if day is None:
                return None
            found = self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]
        local = day * _DAY + found
        return local if local < end else None

    def _next_time(self, time: int) -> int | None:
        """Return the first matching second of a day, this one included."""
        for hour in self.hours:
            if hour * 3600 + 3599 < time:
                continue
            for minute in self.minutes:
                if hour * 3600 + minute * 60 + 59 < time:
                    continue
                for second in self.seconds:
                    found = hour * 3600 + minute * 60 + second
                    if found >= time:
                        return found
        return None

    def _matches(self, number: int, weekday: int, length: int) -> bool:
        """Say whether a day of a month of that length matches."""
        by_date = number in self.dates or (self.last_date and number == length)
        by_weekday = (
            weekday in self.weekdays
            or (weekday, (number + 6) // 7) in self.nth_weekdays
            or (number + 7 > length and (weekday, -1) in self.nth_weekdays)
        )
        return by_date and by_weekday if self.both_days else by_date or by_weekday

    def describe(self) -> str:
        """Say it in words where they are short; otherwise give the expression itself."""
        times = self._describe_times()
        days = self._describe_days()
        if times is None or days is None:
            return self.text
        if times.startswith("every") and days == "every day":
            return times
        return f"{times} {days}"

    def _describe_times(self) -> str | None:
        if self.seconds != (0,):
            whole = len(self.seconds) == 60 and len(self.minutes) == 60 and self.every_hour
            return "every second" if whole else None
        if self.every_hour:
            if len(self.minutes) == 60:
                return "every minute"
            step = 60 // len(self.minutes)
            if len(self.minutes) > 1 and self.minutes == tuple(range(0, 60, step)):
                return f"every {step} minutes"
            if len(self.minutes) == 1:
                return f"every hour at minute {self.minutes[0]}" if self.minutes[0] else "every hour"
            return None
        if len(self.hours) * len(self.minutes) > 4:
            return None
        times = [f"{hour:02d}:{minute:02d}" for hour in self.hours for minute in self.minutes]
        return f"at {_list(times)}"

    def _describe_days(self) -> str | None:
        all_dates, all_months = len(self.dates) == 31, len(self.months) == 12
        all_weekdays = len(self.weekdays) == 7
        if self.nth_weekdays or (not all_weekdays and not all_dates):
            return None
        months = _list([_MONTHS[month - 1] for month in sorted(self.months)])
        if not all_weekdays:
            names = _list([_DAYS[day % 7] for day in sorted((day or 7) for day in self.weekdays)])
            named = {frozenset(range(1, 6)): "Monday to Friday"}.get(self.weekdays, names)
            return f"on {named}" if all_months else f"on {named} in {months}"
        if all_dates:
            return "every day" if all_months else f"every day in {months}"
        if len(self.dates) + self.last_date > 4:
            return None
        numbers = [f"day {day}" for day in sorted(self.dates)] + ["the last day"] * self.last_date
        return f"on {_list(numbers)} of {'every month' if all_months else months}"


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _split_nth(text: str) -> tuple[frozenset[tuple[int, int]], str | None]:
    """Part the "MON#2" and "FRIL" of a day-of-week field from the rest, which is None when empty."""
    nths = set()
    plain = []
    for part in text.split(","):
        if found := re.fullmatch(r"(\w+)#([1-5])", part, re.ASCII):
            nths.add((_value(found[1], _WEEKDAY) % 7, int(found[2])))
        elif len(part) > 1 and part.endswith("L"):
            nths.add((_value(part[:-1], _WEEKDAY) % 7, -1))
        else:
            plain.append(part)
    return frozenset(nths), ",".join(plain) if plain else None


def _values(text: str, field: _Field) -> frozenset[int]:
    """Return the numbers that a field's text names."""
    values: set[int] = set()
    for part in text.split(","):
        values.update(_part(part, field))
    # Sunday may be written 7, so that FRI-SUN and 5-7 are ranges.
    return frozenset(value % 7 for value in values) if field is _WEEKDAY else frozenset(values)


def _part(part: str, field: _Field) -> range:
    span, slash, step_text = part.partition("/")
    step, most = 1, field.high - field.low + 1
    if slash:
        if not re.fullmatch(r"[0-9]{1,3}", step_text) or not 1 <= int(step_text) <= most:
            raise CronError(f'{field.name} "{part}": a step is a number from 1 to {most}')
        step = int(step_text)
    if span == "*" or (span == "?" and field in (_DATE, _WEEKDAY)):
        low, high = field.low, field.high
    elif "-" in span:
        first, _, last = span.partition("-")
        low, high = _value(first, field), _value(last, field)
        if field is _WEEKDAY and high == 0 < low:
            high = 7
        if low > high:
            raise CronError(f'{field.name} "{part}": a range goes upwards')
    else:
        low = _value(span, field)
        high = field.high if slash else low
    return range(low, max(low, high) + 1, step)


def _value(text: str, field: _Field) -> int:
    if text in field.names:
        return field.names[text]
    highest = 7 if field is _WEEKDAY else field.high
    if not re.fullmatch(r"[0-9]{1,2}", text) or not field.low <= int(text) <= highest:
        names = f" or {', '.join(field.names)}" if field.names else ""
        raise CronError(f'{field.name} "{text}" is not a number from {field.low} to {highest}{names}')
    return int(text)
