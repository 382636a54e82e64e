"""Durations and instants as people write them, and as Flux keeps them: integer microseconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

MICROSECOND: Final = 1
MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY

LONGEST: Final = 36_525 * DAY
"""The longest duration that is accepted: 100 years."""

_UNITS: Final = {
    "w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND, "ms": MILLISECOND, "us": MICROSECOND,
}  # fmt: skip

# Each unit at most once, from large to small, so that "5m1h" is a typo and not a guess.
_DURATION: Final = re.compile(
    r"([+-]?)" + "".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit}\s*)?" for unit in _UNITS), re.ASCII
)
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_EXAMPLE: Final = 'write it like "30s", "5m", "1h30m" or "250ms", or as a number of seconds'
_INSTANT_EXAMPLE: Final = 'write it like "2026-11-24T19:33:54Z" or "2026-11-24T20:33:54+01:00"'
_LONGEST_TEXT: Final = 64  # no duration worth writing is longer, and int() of a million digits is slow
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (see format_instant)
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE: Final = timedelta(microseconds=1)


def parse_duration(value: str | int | float | timedelta) -> int:
    """Return a duration in microseconds.

    A string carries units from large to small (`w d h m s ms us`, decimals allowed: "1h30m", "1.5s",
    "-5s"); a number is seconds. The result may be negative: whether that is allowed is for the caller
    to say. Parts of a microsecond are rounded.

    Raises ValueError, with a text for the person who wrote the value, for anything else and for what
    is longer than 100 years.
    """
    exact: Fraction | int
    if isinstance(value, str):
        exact = _from_text(value)
    elif isinstance(value, timedelta):
        exact = value // _ONE
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a duration cannot be {_shown(value)}; {_EXAMPLE}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a duration must be finite, not {value}; {_EXAMPLE}")
    elif abs(value) * SECOND > LONGEST:
        raise _too_long(value)
    else:
        exact = value * SECOND if isinstance(value, int) else Fraction(value) * SECOND
    if not -LONGEST <= exact <= LONGEST:
        raise _too_long(value)
    return round(exact)


def format_duration(us: int) -> str:
    """Return the short canonical text of a duration in microseconds; `parse_duration` gives it back.

    "1h30m", "1.5s", "250ms", "15us", "0s"; negative ones start with a minus.
    """
    if us < 0:
        return "-" + format_duration(-us)
    if 0 < us < SECOND:
        return f"{us}us" if us % MILLISECOND else f"{us // MILLISECOND}ms"
    text = ""
    rest = us
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE)):
        count, rest = divmod(rest, size)
        if count:
            text += f"{count}{unit}"
    seconds, fraction = divmod(rest, SECOND)
    if fraction:
        return f"{text}{seconds}." + f"{fraction:06d}".rstrip("0") + "s"
    return f"{text}{seconds}s" if seconds or not text else text


def parse_instant(value: str | datetime) -> int:
    """Return an instant in microseconds since the Unix epoch.

    A string is RFC 3339 and must name its offset ("Z" or "+01:00"); a datetime must be aware. Digits
    past the microsecond are cut off.

    Raises ValueError, with a text for the person who wrote the value, for anything else.
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        found = _INSTANT.fullmatch(value.strip()) if len(value) <= _LONGEST_TEXT else None
        if found is None:
            raise ValueError(f"{_shown(value)} is not an RFC 3339 time; {_INSTANT_EXAMPLE}")
        try:
            moment = datetime.fromisoformat(found[0].upper())
        except ValueError as error:
            raise ValueError(f"{_shown(value)} is not a time that exists: {error}") from None
    else:
        raise ValueError(f"a time cannot be {_shown(value)}; {_INSTANT_EXAMPLE}")
    if moment.utcoffset() is None:
        raise ValueError(f'"{value}" has no offset from UTC, so its instant is unknown; {_INSTANT_EXAMPLE}')
    # Aware datetimes are subtracted as instants, so no value near year 1 or 9999 can overflow here.
    return (moment - _EPOCH_UTC) // _ONE


def format_instant(us: int) -> str:
    """Return an instant as RFC 3339 in UTC with six decimals: "2026-11-24T19:33:54.123456Z".

    Its width is constant, so that texts sort as the instants do. Raises OverflowError outside of the
    years 1 to 9999.
    """
    # Naive arithmetic on purpose: it is twice as fast as an aware datetime, and every list pays it.
    return (_EPOCH + timedelta(0, 0, us)).isoformat("T", "microseconds") + "Z"


def _from_text(text: str) -> Fraction | int:
    """Return the exact microseconds that a duration's text says."""
    stripped = text.strip()
    if not stripped:
        raise ValueError(f"a duration must not be empty; {_EXAMPLE}")
    found = _DURATION.fullmatch(stripped) if len(stripped) <= _LONGEST_TEXT else None
    if found is None or not any(found.groups()[1:]):
        if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", stripped):
            raise ValueError(f"{_shown(text)} has no unit; {_EXAMPLE}")
        raise ValueError(f"{_shown(text)} is not a duration; {_EXAMPLE}")
    sign, *counts = found.groups()
    total: Fraction | int = 0
    for count, size in zip(counts, _UNITS.values(), strict=True):
        if count:
            total += (Fraction(count) if "." in count else int(count)) * size
    return -total if sign == "-" else total


def _too_long(value: object) -> ValueError:
    return ValueError(f"{_shown(value)} is longer than 100 years; {_EXAMPLE}")


def _shown(value: object) -> str:
    """Return a value as an error may quote it: short, whatever was sent."""
    # An int of thousands of digits cannot even be printed.
    text = "this number" if isinstance(value, int) and abs(value) > 10**20 else repr(value)
    return text if len(text) <= 50 else text[:47] + "..."
