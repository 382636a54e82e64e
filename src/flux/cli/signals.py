"""Being asked to leave: once for a graceful end, twice for an immediate one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from flux.cli.terminal import say

PARENT_FD = "_FLUX_PARENT_FD"
"""A child's end of a pipe whose other end its supervisor holds: it ends with the supervisor, however that dies."""

IMMEDIATE = 128
"""Added to the signal's number: the exit code of a process that was told twice to leave."""


class Wish:
    """What was asked of this process so far."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self.signal: int | None = None

    def listen(self, insisted: Callable[[int], object] | None = None) -> None:
        """Hear SIGTERM, SIGINT and the end of a supervisor from here on. Needs a running loop, in the main thread.

        ``insisted`` is called with the second signal, even while the loop is stuck in a handler's code.
        """
        loop = asyncio.get_running_loop()
        count = 0

        def heard(number: int, frame: FrameType | None) -> None:
            # Python calls this between two steps of whatever the main thread does, and not by the loop.
            nonlocal count
            count += 1
            if count == 2 and insisted is not None:
                insisted(number)
            loop.call_soon_threadsafe(self._heard, number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, heard)
        pipe = os.environ.get(PARENT_FD)
        if pipe is not None and pipe.isdecimal():
            self._watch(loop, int(pipe))

    def _watch(self, loop: asyncio.AbstractEventLoop, pipe: int) -> None:
        def ended() -> None:
            loop.remove_reader(pipe)
            self.stop.set()

        try:
            loop.add_reader(pipe, ended)
        except (OSError, ValueError):
            self.stop.set()

    def _heard(self, number: int) -> None:
        self.signal = number
        if not self.stop.is_set():
            if number == signal.SIGINT and sys.stderr.isatty():
                say("\nstopping; once more stops at once")
            self.stop.set()
        else:
            self.now.set()
