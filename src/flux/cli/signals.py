"""Being asked to leave: once for a graceful end, twice for an immediate one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from flux.cli.terminal import say

PARENT_FD = "_FLUX_PARENT_FD"
"""A child's end of a pipe whose other end its supervisor holds: it ends with the supervisor, however that dies."""


class Wish:
    """What was asked of this process so far."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.now = asyncio.Event()
        self.signal: int | None = None

    def listen(self) -> None:
        """Hear SIGTERM, SIGINT and the end of a supervisor from here on. Needs a running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard, number)
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
