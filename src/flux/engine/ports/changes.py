"""Wake-ups out of the store."""

from __future__ import annotations

from typing import Protocol


class Changes(Protocol):
    """Wake-ups: something was committed that may concern a waiter. May be early, late or for nothing; never needed
    for correctness, since every waiter also has a longest sleep."""

    def version(self) -> int:
        """A number that grows with every change seen."""
        ...

    async def wait(self, seen: int, timeout: float) -> int:
        """Return the version once it is past ``seen``, or after ``timeout`` seconds."""
        ...
