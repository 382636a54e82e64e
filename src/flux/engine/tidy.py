"""Between two attempts in one child: let a handler's value come to its end, and see what it left behind."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import inspect
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from flux.domain.words import agree, plural

PATIENCE = 1.0
"""Seconds that leaked tasks have to end after they are cancelled."""

OURS = "flux-"
"""How Flux's own threads and tasks are named: a handler that enqueues jobs leaves the way to the store open."""

THREAD_PATIENCE = 0.1
"""Seconds that threads have to end after their attempt."""


class Waiting:
    """The event loop of this process, in which the values of asynchronous handlers come to their end.

    One loop for all attempts: what modules and the SDK keep open in a loop (clients, the way to the store) is of use
    to the next one. Tasks are ended with their attempt; a timer that a handler leaves in the loop is not.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def finish(self, value: Any) -> tuple[Any, BaseException | None, str | None]:
        """The handler's value, awaited where it must be; what was raised instead; why this process should not be used
        again (None: it may be).
        """
        if not inspect.isawaitable(value):
            return value, None, None
        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            result, error = loop.run_until_complete(_caught(value))
            return result, error, _cancel_leaks(loop)
        finally:
            asyncio.set_event_loop(None)

    def close(self) -> None:
        """Close the loop."""
        if self._loop is not None:
            self._loop.close()


async def _caught(value: Any) -> tuple[Any, BaseException | None]:
    # SystemExit and KeyboardInterrupt would leave through the loop itself and end it half-way.
    try:
        return await value, None
    except BaseException as error:
        return None, error


def _cancel_leaks(loop: asyncio.AbstractEventLoop) -> str | None:
    leaked = {task for task in asyncio.all_tasks(loop) if not task.get_name().startswith(OURS)}
    if not leaked:
        return None
    for task in leaked:
        task.cancel()
    done, left = loop.run_until_complete(asyncio.wait(leaked, timeout=PATIENCE))
    for task in done:
        if not task.cancelled():
            task.exception()  # seen; nobody else will ask
    for task in left:
        # Destroyed with its loop: asyncio would complain on stderr about what is reported here.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    if not left:
        return None
    return f"{plural(len(left), 'leaked task')} {agree(len(left), 'does', 'do')} not end"


class Surroundings:
    """What a process looks like before an attempt, to be compared and restored after it."""

    __slots__ = ("_cwd", "_fds", "_out", "_threads")

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._fds = [_identity(fd) for fd in (0, 1, 2)]
        self._out = sys.stdout, sys.stderr
        self._cwd = _cwd()

    def left_behind(self) -> str | None:
        """Put back what can be; say why this process should not be used again (None: it may be)."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if (sys.stdout, sys.stderr) != self._out or not _flushed():
            return "its standard output was replaced or closed"
        if [_identity(fd) for fd in (0, 1, 2)] != self._fds:
            return "its standard descriptors were closed or replaced"
        if _cwd() != self._cwd:
            try:
                os.chdir(self._cwd or "/")
            except OSError:
                return "its working directory is gone"
        if threading.active_count() > 1 and (left := self._threads_left()):
            return f"threads outlived their attempt: {', '.join(sorted(thread.name for thread in left))}"
        return None

    def _threads_left(self) -> list[threading.Thread]:
        new = [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.name.startswith(OURS)
        ]
        if not new:
            return []
        frames = sys._current_frames()
        left = []
        until = time.monotonic() + THREAD_PATIENCE
        for thread in new:
            if _idle(frames.get(thread.ident or 0)):
                continue
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive() and not _idle(sys._current_frames().get(thread.ident or 0)):
                left.append(thread)
        return left


def _idle(frame: FrameType | None) -> bool:
    # A thread of an executor that waits for work runs nobody's code; pools at module level would otherwise cost every
    # attempt its process.
    return frame is not None and frame.f_code is concurrent.futures.thread._worker.__code__


def _flushed() -> bool:
    # Printed lines must not wait for the next attempt, nor be lost when this process is killed.
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except ValueError:
            return False
        except OSError:
            continue  # nobody reads it any more: no fault of the handler
    return True


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _cwd() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
