"""The last resort at the end of a process: what handlers left running must not hold it up.

Python waits for every thread that is no daemon, and for those of the event loop's executor, and an event loop waits
for tasks that take no notice of being cancelled. A thread that is started early sees to it that this has an end.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

logger = logging.getLogger("flux.runtime")


class Exit:
    """Ends this process within so many seconds, whatever still runs in it."""

    def __init__(self) -> None:
        # Its put() may be called from a signal's handler, which a lock of our own might meet half taken.
        self._orders: SimpleQueue[tuple[float, Callable[[], object]]] = SimpleQueue()
        threading.Thread(target=self._watch, name="flux-exit", daemon=True).start()

    def within(self, seconds: float, end: Callable[[], object]) -> None:
        """Call ``end`` when the process has not ended by then. Of several orders the earliest counts."""
        self._orders.put((time.monotonic() + seconds, end))

    def _watch(self) -> None:
        at, end = self._orders.get()
        while True:
            try:
                sooner, other = self._orders.get(timeout=max(0.0, at - time.monotonic()))
            except Empty:
                break
            if sooner < at:
                at, end = sooner, other
        logger.warning("the end is held up by %s: it is cut off", _holding())
        end()


def leave(code: int) -> None:
    """End this process here and now; what was written is kept."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(code)


def _holding() -> str:
    names = [
        thread.name
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread() and "_do_shutdown" not in thread.name
    ]
    if names:
        return f"threads that handlers left running ({', '.join(sorted(names)[:10])})"
    return "the store, or by a handler that takes no notice of it"
