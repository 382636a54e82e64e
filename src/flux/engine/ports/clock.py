"""The clocks of this process."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """This process's clocks, both in microseconds."""

    def now(self) -> int:
        """Wall time since the Unix epoch; for showing and for naming ids, never for deciding who owns what."""
        ...

    def monotonic(self) -> int:
        """A clock that never steps and that goes on while the machine is suspended (CLOCK_BOOTTIME)."""
        ...
