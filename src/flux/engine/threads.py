"""Threads for synchronous handlers: daemons, since a handler that never returns must not keep a process alive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any


class Threads:
    """At most ``most`` threads, started as needed; each call has the caller's context variables."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._idle = 0
        self._queued = 0
        self._lock = threading.Lock()
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def run(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run ``call`` in a thread; the future has its value or what it raised, SystemExit included.

        Cancelling the future does not stop the thread: nothing can.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()

        def work() -> None:
            value, error = None, None
            try:
                value = context.run(call)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, value, error)

        with self._lock:
            # The call takes its thread here and not when that wakes: of two quick calls the second needs another one.
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(
                    target=self._serve, name=f"flux-handler-{self._threads}", daemon=True
                ).start()
            else:
                self._queued += 1
        self._calls.put(work)
        return future

    def close(self) -> None:
        """Let idle threads end; those that still run end with their call."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            with self._lock:
                if self._queued:
                    self._queued -= 1  # one that found no thread is this one's next
                else:
                    self._idle += 1


class Raised(Exception):
    """Carries what a thread's call raised, since a future refuses StopIteration and friends."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(Raised(error))
