"""Wake-ups out of the store."""

from __future__ import annotations

from enum import Flag, auto
from typing import Protocol


class Topic(Flag):
    """What a change is about, so that nobody is woken who has no use for it."""

    AVAILABLE = auto()
    """Jobs may be claimed that could not before."""
    DUE = auto()
    """Something may come due sooner than was known."""
    ENDED = auto()
    """Jobs have ended."""
    ORDERS = auto()
    """A worker is to stop a job, or to leave."""
    REST = auto()
    """Anything else that somebody may be shown."""

    ANY = AVAILABLE | DUE | ENDED | ORDERS | REST


class Changes(Protocol):
    """Wake-ups: something was committed that may concern a waiter. May be early, late or for nothing; never needed
    for correctness, since every waiter also has a longest sleep.

    A store that cannot tell what a change is about says that it may be about anything.
    """

    def version(self, about: Topic = Topic.ANY) -> int:
        """A number that grows with every change seen that is about any of these."""
        ...

    async def wait(self, seen: int, timeout: float, about: Topic = Topic.ANY) -> int:
        """Return the version once it is past ``seen``, or after ``timeout`` seconds."""
        ...
