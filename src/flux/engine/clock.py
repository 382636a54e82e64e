"""The clocks of a real process."""

from __future__ import annotations

import time


class SystemClock:
    """Wall time, and a clock that goes on in suspend (where the system has one)."""

    def __init__(self) -> None:
        self._boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def now(self) -> int:
        """Microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> int:
        """Microseconds on a clock that never steps."""
        return time.clock_gettime_ns(self._boot) // 1000
