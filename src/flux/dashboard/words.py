"""Numbers, times and states as the pages say them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
from markupsafe import Markup, escape

from flux.domain.duration import DAY, HOUR, MILLISECOND, MINUTE, SECOND
from flux.domain.job import JobState

EXACT_BELOW = 10_000

LOOKS: dict[str, tuple[str, str]] = {
    "scheduled": ("wait", "clock"),
    "blocked": ("wait", "lock"),
    "available": ("ready", "ring"),
    "running": ("run", "play"),
    "retrying": ("again", "loop"),
    "succeeded": ("good", "check"),
    "dead": ("bad", "cross"),
    "cancelled": ("off", "slash"),
    "skipped": ("off", "skip"),
    # outcomes of attempts
    "failed": ("bad", "x"),
    "timeout": ("again", "clock"),
    "lost": ("bad", "cross"),
    "snoozed": ("wait", "clock"),
    "released": ("off", "skip"),
}
"""State: (colour, shape). No two states that share a colour share a shape."""

STATES = tuple(str(state) for state in JobState)


def icon(name: str) -> Markup:
    """A shape of the sprite, for eyes only: words stand beside it."""
    return Markup('<svg class="icon" aria-hidden="true"><use href="#i-{}"/></svg>').format(name)


def state_mark(state: str) -> Markup:
    """A state as colour, shape and word."""
    colour, shape = LOOKS.get(state, ("off", "ring"))
    return Markup('<span class="state s-{}">{}{}</span>').format(colour, icon(shape), state)


def count(n: int) -> str:
    """A number of things: exact below 10,000, from there on what a glance needs."""
    if n < EXACT_BELOW:
        return f"{n:,}"
    step = 10 ** (len(str(n)) - 3)
    return f"about {n // step * step:,}"


def short_count(n: int) -> str:
    """The same where room is scarce: "~1.2 M"."""
    if n < EXACT_BELOW:
        return f"{n:,}"
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if n >= size:
            return f"~{n / size:.3g} {unit}"
    return str(n)


def plural(n: int, one: str, many: str | None = None) -> str:
    """ "1 job", "3 jobs", "about 12,000 jobs"."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def span(us: int) -> str:
    """A duration at a glance, two units at most: "340 ms", "2.4 s", "3 min 10 s", "2 h 5 min", "12 d"."""
    us = max(us, 0)
    if us < MILLISECOND:
        return f"{us} µs" if us else "0 ms"
    if us < SECOND:
        return f"{us / MILLISECOND:.3g} ms" if us < 999_500 else "1 s"
    if us < 10 * SECOND:
        return f"{us / SECOND:.1f} s".replace(".0 s", " s")
    if us < MINUTE:
        return f"{us // SECOND} s"
    for size, unit, smaller, small in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", SECOND, "s"),
    ):
        if us >= size:
            whole, rest = divmod(us, size)
            rest //= smaller
            return f"{whole} {unit} {rest} {small}" if rest and whole < 10 else f"{whole} {unit}"
    return ""


def coarse(us: int) -> str:
    """An age that a script counts on: whole seconds. ``static/js/times.js`` says the same."""
    return span(max(us, 0) // SECOND * SECOND) if us >= SECOND else "0 s"


def iso(us: int) -> str:
    """An instant for machines and for tooltips."""
    try:
        return (
            datetime.fromtimestamp(us / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
    except (OverflowError, ValueError, OSError):
        return "far away"


def clock_time(us: int) -> str:
    """An instant for people, in UTC; the script puts local time beside it."""
    return iso(us).replace("T", " ").replace("Z", " UTC")


_FORMS = {"ago": "{} ago", "in": "in {}", "for": "{}"}


def moment(us: int | None, now: int | None, form: str = "ago") -> Markup:
    """An instant as distance from now, kept up to date by the script.

    Without ``now`` the words are left to the script: what is streamed then changes only when the data does.
    """
    if us is None:
        return Markup('<span class="dim">–</span>')
    text = "" if now is None else said(us, now, form)
    return Markup('<time datetime="{}" data-us="{}" data-form="{}" title="{}">{}</time>').format(
        iso(us), us, form, clock_time(us), text
    )


def said(us: int, now: int, form: str) -> str:
    """The words of ``moment``. What was to come and has come is "now"."""
    if form == "in" and us <= now:
        return "now"
    if form == "ago" and us > now + SECOND:
        form = "in"
    return _FORMS[form].format(coarse(abs(now - us)))


def short_id(value: str) -> str:
    """The end of an id: the random part, which tells neighbours apart."""
    return f"…{value[-8:]}" if len(value) > 12 else value


def pretty(raw: bytes | str | None) -> str:
    """JSON with indents, as text; what is not JSON as it is."""
    if raw is None:
        return ""
    try:
        return (
            msgspec.json.format(raw, indent=2).decode()
            if isinstance(raw, bytes)
            else msgspec.json.format(raw, indent=2)
        )
    except (msgspec.DecodeError, RecursionError):
        return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw


_JSON = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<str>"(?:[^"\\]|\\.)*")|(?P<num>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<lit>true|false|null)'
)
MOST_COLOURED = 64 << 10


def coloured(raw: bytes | str | None) -> Markup:
    """Pretty JSON with its parts marked for colour; every piece is escaped. Large documents stay plain."""
    text = pretty(raw)
    if len(text) > MOST_COLOURED:
        return escape(text)
    out: list[Markup] = []
    at = 0
    for found in _JSON.finditer(text):
        out.append(escape(text[at : found.start()]))
        out.append(Markup('<span class="j-{}">{}</span>').format(found.lastgroup or "str", found.group()))
        at = found.end()
    out.append(escape(text[at:]))
    return Markup("").join(out)
