"""The dispatcher's side of a broker that holds hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Lane(msgspec.Struct, frozen=True):
    """The available jobs of one queue and priority, and the place of their hints at a broker that holds some."""

    queue: str
    priority: int


class News(msgspec.Struct, frozen=True):
    """What a dispatcher waits for: lanes that are marked full and run low, and whether it was poked."""

    low: tuple[Lane, ...] = ()
    poked: bool = False


class Lanes(Protocol):
    """The dispatcher's side of a broker that holds hints. All verbs but ``wait`` raise ``Unavailable`` when it is away.

    A lane that is marked full passes the hints of ``publish`` by, so that it is fed in the order of policy alone.
    """

    @property
    def up(self) -> bool:
        """Whether it can be used now. It tells people itself when that changes."""
        ...

    @property
    def width(self) -> int:
        """The most hints that a lane holds."""
        ...

    async def take_over(self) -> None:
        """Offer again what was given to workers that are not heard of any more."""
        ...

    async def full(self) -> dict[Lane, int]:
        """The lanes that are marked full, and how many hints each has passed by since."""
        ...

    async def length(self, lane: Lane) -> int:
        """How many hints it holds, those included that were given out and not acknowledged."""
        ...

    async def held(self, lane: Lane) -> set[str]:
        """The ids that it holds hints of, those given out included."""
        ...

    async def feed(self, lane: Lane, ids: Sequence[str]) -> int:
        """Put hints behind those that it holds, marked or not; how many of them found room, the first ones.

        What found none is passed by, and the lane marked full.
        """
        ...

    async def mark_full(self, lane: Lane) -> None:
        """From now on only the dispatcher feeds it."""
        ...

    async def reopen(self, lane: Lane, passed_by: int) -> None:
        """Take the mark away, unless it has passed more hints by than these."""
        ...

    async def wait(self, timeout: float) -> News:
        """Return when there is something to do, or after ``timeout`` seconds; never raises."""
        ...
