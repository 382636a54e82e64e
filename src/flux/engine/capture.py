"""Whose code is running: lines that a handler logs with the standard library are kept with its attempt, and tasks
that it starts and forgets are known."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, cast

from flux.engine.context import Context

current: ContextVar[Context | None] = ContextVar("flux_attempt", default=None)
"""The attempt whose code is running, in its tasks and its thread."""


class CaptureHandler(logging.Handler):
    """Keeps log records of a running attempt with it; records of nobody's attempt pass by."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        context = current.get()
        if context is None or record.name.startswith("flux."):
            return
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
        except Exception as error:
            text = f"{record.msg} (its arguments could not be written: {error})"
        context.log(record.levelname, text)


def task_factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
    """Make a task, and remember it with the attempt that started it."""
    task = asyncio.Task(coro, loop=loop, **kwargs)
    context = current.get()
    if context is not None:
        if context.leaks is None:
            context.leaks = set()
        context.leaks.add(task)
        task.add_done_callback(context.leaks.discard)
    return task


class Capture:
    """Installs both for as long as a worker runs; nothing of it stays behind."""

    def __init__(self) -> None:
        self._handler = CaptureHandler()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._factory: Any = None

    def __enter__(self) -> Capture:
        logging.getLogger().addHandler(self._handler)
        self._loop = asyncio.get_running_loop()
        self._factory = self._loop.get_task_factory()
        if self._factory is None:
            self._loop.set_task_factory(cast("Any", task_factory))
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        if self._loop is not None and self._factory is None:
            self._loop.set_task_factory(None)
