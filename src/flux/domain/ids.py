"""Ids of jobs and of everything else that has a row (UUIDv7), and the ids of claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Final

_CANONICAL: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_VARIANT: Final = 0b10 << 14


class IdSource:
    """Makes UUIDv7 ids (RFC 9562), each greater than the one before, even when the clock steps back.

    The twelve bits after the version hold the part of the millisecond (the RFC's method 3), so ids of
    several processes sort by creation to the microsecond. Ids name things and are no secrets.

    Not thread-safe. Make a new one after a fork: two copies would give the same ids.
    """

    __slots__ = ("_bits", "_now", "_tick")

    def __init__(self, now: Callable[[], int], random: Random | None = None) -> None:
        """`now` gives microseconds since the epoch; `random` is seeded by the system by default."""
        self._now = now
        self._bits = (random or Random()).getrandbits
        self._tick = 0  # of the newest id: milliseconds << 12 | 4096ths of a millisecond

    def new(self) -> str:
        """Return a new id as canonical lower-case text."""
        return self._text(self._take(1))

    def many(self, count: int) -> list[str]:
        """Return as many new ids, in order; for less than one by one."""
        text, first = self._text, self._take(count)
        return [text(tick) for tick in range(first, first + count)]

    def _take(self, count: int) -> int:
        """Reserve as many ticks; the first of them."""
        milliseconds, rest = divmod(self._now(), 1000)
        # At least one, a quarter of a microsecond, after the newest: perhaps ahead of its time, and in order.
        first = max(milliseconds << 12 | (rest << 12) // 1000, self._tick + 1)
        self._tick = first + count - 1
        return first

    def _text(self, tick: int) -> str:
        bits = self._bits(62)
        # One format of small numbers: by a 128-bit one and slices it takes half as long again.
        return "%08x-%04x-7%03x-%04x-%012x" % (  # noqa: UP031
            tick >> 28,
            tick >> 12 & 0xFFFF,
            tick & 0xFFF,
            _VARIANT | bits >> 48,
            bits & 0xFFFF_FFFF_FFFF,
        )


def is_id(text: str) -> bool:
    """Say whether a text is a UUID in its canonical lower-case form (any version)."""
    return _CANONICAL.fullmatch(text) is not None


def time_of(id: str) -> int:
    """Return when an id of `IdSource` was made, in microseconds since the epoch.

    Raises ValueError when the text is no UUIDv7.
    """
    if not is_id(id) or id[14] != "7":
        raise ValueError(f"{id[:50]!r} is not a UUIDv7")
    return int(id[:8] + id[9:13], 16) * 1000 + -(-int(id[15:18], 16) * 1000 // 4096)


def new_claim_id(random: Random) -> int:
    """Return the random fence of one claim: positive and below 2**63, so that it fits a bigint."""
    return random.getrandbits(63) or 1
