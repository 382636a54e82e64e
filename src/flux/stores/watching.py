"""Sees the ends of transactions that are not ours: drivers tell nobody when a transaction commits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

Over = Callable[[], bool]
"""Whether a transaction has ended. Cheap: it asks the driver's own memory and not the server."""

_Watched = tuple[Over, Callable[[], None], float]
"""What is looked at, what is called then, and since when (seconds)."""

_SHORTEST = 0.001
_LONGEST = 0.02
_SHARE = 20
"""A transaction that has been open for some time is looked at after a twentieth of it: its end is seen late by 5 %, by
a millisecond at least and by 20 at most, and one that stays open for minutes costs next to nothing."""


class Watcher:
    """Looks at transactions until they are over. Belongs to one event loop."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, over: Over, then: Callable[[], None]) -> None:
        """Call ``then`` once the transaction is over; at once when it is."""
        if _is_over(over):
            then()
            return
        self._watched.append((over, then, time.monotonic()))
        if self._timer is not None:
            self._timer.cancel()
        self._look_after(_SHORTEST)

    def _look_after(self, pause: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)

    def _look(self) -> None:
        self._timer = None
        ended: list[_Watched] = []
        open_still: list[_Watched] = []
        for one in self._watched:
            (ended if _is_over(one[0]) else open_still).append(one)
        self._watched = open_still
        if self._watched:
            youngest = time.monotonic() - max(since for _, _, since in self._watched)
            self._look_after(min(max(youngest / _SHARE, _SHORTEST), _LONGEST))
        for _, then, _ in ended:
            then()


def _is_over(over: Over) -> bool:
    try:
        return over()
    except Exception:
        return True  # the connection is closed, or back in its pool
