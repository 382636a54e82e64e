"""How long a failed job waits before its next attempt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from flux.domain.duration import HOUR, SECOND, format_duration, parse_duration

Kind = Literal["exponential", "linear", "constant", "list"]

_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "exponential": frozenset({"kind", "base", "max", "factor", "jitter"}),
    "linear": frozenset({"kind", "base", "max", "jitter"}),
    "constant": frozenset({"kind", "base", "jitter"}),
    "list": frozenset({"kind", "delays", "jitter"}),
}
_MOST_DELAYS: Final = 100
_LARGEST_FACTOR: Final = 1_000


class BackoffError(ValueError):
    """A backoff that makes no sense; `field` names the part, such as "backoff.base"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Backoff(Struct, frozen=True):
    """The delays between attempts, in microseconds.

    exponential: base, base * factor, base * factor^2, ... up to max
    linear:      base, 2 * base, 3 * base, ... up to max
    constant:    base each time
    list:        the delays one after the other; the last one repeats

    `jitter` spreads each delay evenly over +-that part of it, but never above `max`.
    """

    kind: Kind = "exponential"
    base: int = SECOND
    max: int = HOUR
    factor: float = 2.0
    jitter: float = 0.0
    delays: tuple[int, ...] = ()

    @classmethod
    def parse(cls, value: object) -> Backoff:
        """Read a backoff from its JSON: an object by kind, or a bare list of delays.

        An object without `kind` is exponential. Without `base` it starts at 1 s, without `max` it ends
        at 1 h (or at base, when that is longer), without `jitter` an exponential one has 0.2 and the
        others none. Raises BackoffError, which names the field.
        """
        if isinstance(value, Backoff):
            return value
        if isinstance(value, list | tuple):
            return cls(kind="list", delays=_delays(value, "backoff"))
        if not isinstance(value, Mapping):
            raise BackoffError("backoff", 'must be an object with "kind" or a list like ["10s", "1m"]')
        kind: Any = value.get("kind", "exponential")
        if not isinstance(kind, str) or kind not in _KEYS:
            raise BackoffError("backoff.kind", f"must be one of {', '.join(get_args(Kind))}")
        for key in value:
            if key not in _KEYS[kind]:
                known = ", ".join(sorted(_KEYS[kind] - {"kind"}))
                raise BackoffError(f"backoff.{str(key)[:50]}", f"is not known for {kind}; it takes {known}")
        jitter = _number(value, "jitter", 0.2 if kind == "exponential" else 0.0, 0, 1)
        if kind == "list":
            if "delays" not in value:
                raise BackoffError("backoff.delays", "is required for a list")
            return cls(kind="list", jitter=jitter, delays=_delays(value["delays"], "backoff.delays"))
        base = _duration(value.get("base", "1s"), "backoff.base")
        if base <= 0:
            raise BackoffError("backoff.base", "must be longer than 0")
        if kind == "constant":
            return cls(kind="constant", base=base, max=base, jitter=jitter)
        longest = _duration(value["max"], "backoff.max") if "max" in value else max(base, HOUR)
        if longest < base:
            raise BackoffError("backoff.max", f"must not be shorter than base ({format_duration(base)})")
        if kind == "linear":
            return cls(kind="linear", base=base, max=longest, jitter=jitter)
        factor = _number(value, "factor", 2.0, 1, _LARGEST_FACTOR)
        return cls(kind="exponential", base=base, max=longest, factor=factor, jitter=jitter)

    def to_json(self) -> dict[str, Any] | list[str]:
        """Return the JSON that `parse` reads back as this backoff, durations as strings."""
        if self.kind == "list":
            delays = [format_duration(delay) for delay in self.delays]
            return {"kind": "list", "delays": delays, "jitter": self.jitter} if self.jitter else delays
        json: dict[str, Any] = {"kind": self.kind, "base": format_duration(self.base)}
        if self.kind != "constant":
            json["max"] = format_duration(self.max)
        if self.kind == "exponential":
            json["factor"] = self.factor
        return json | {"jitter": self.jitter}

    def delay(self, attempt: int, random: float) -> int:
        """Return the microseconds to wait after a failed attempt.

        `attempt` is the number of the attempt that just failed, from 1; `random`, in [0, 1), chooses the
        place within the jitter. Raises ValueError when attempt is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts are numbered from 1, not {attempt}")
        plain = self._plain(attempt)
        spread = round(plain * (1 + self.jitter * (2 * random - 1)))
        if self.kind in ("exponential", "linear") and spread > self.max:
            # Mirrored at the limit instead of cut off there: half of all retries would meet at `max`.
            return 2 * self.max - spread
        return spread

    def _plain(self, attempt: int) -> int:
        """Return the delay without jitter."""
        match self.kind:
            case "exponential":
                # Compared as logarithms, since factor ** 1_000_000 has no float.
                steps = attempt - 1
                if steps * math.log(self.factor) >= math.log(self.max / self.base):
                    return self.max if self.factor > 1 else self.base
                return min(round(self.base * self.factor**steps), self.max)
            case "linear":
                return min(self.base * attempt, self.max)
            case "constant":
                return self.base
            case "list":
                return self.delays[min(attempt, len(self.delays)) - 1]


DEFAULT: Final = Backoff(kind="exponential", base=SECOND, max=HOUR, factor=2.0, jitter=0.2)
"""What a job that says nothing gets: 1 s, 2 s, 4 s, ... up to an hour, each +-20 %."""


def _delays(value: object, field: str) -> tuple[int, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise BackoffError(field, 'must be a list like ["10s", "1m", "10m"]')
    if not 1 <= len(value) <= _MOST_DELAYS:
        raise BackoffError(field, f"must have 1 to {_MOST_DELAYS} delays, not {len(value)}")
    delays = tuple(_duration(delay, f"{field}[{index}]") for index, delay in enumerate(value))
    for index, delay in enumerate(delays):
        if delay < 0:
            raise BackoffError(f"{field}[{index}]", "must not be negative")
    return delays


def _duration(value: object, field: str) -> int:
    try:
        return parse_duration(value)  # type: ignore[arg-type]  # it refuses other types itself
    except ValueError as error:
        raise BackoffError(field, str(error)) from None


def _number(value: Mapping[Any, Any], key: str, default: float, low: float, high: float) -> float:
    number = value.get(key, default)
    # Written so that NaN, which compares false with everything, is refused too.
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise BackoffError(f"backoff.{key}", f"must be a number from {low:g} to {high:g}")
    return float(number)
