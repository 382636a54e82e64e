"""Whose code is running: lines that a handler logs with the standard library are kept with its attempt, and tasks
that it starts and forgets are known."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from flux.engine.context import Context

T = TypeVar("T")

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


class Escaped(RuntimeError):
    """A task of a handler raised SystemExit or KeyboardInterrupt, which would end the worker's event loop."""


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine that ends its task and nothing more, whatever it raises.

    asyncio lets SystemExit and KeyboardInterrupt out of a task and out of the loop. A class and not a coroutine around
    the other: that one would never be awaited, and Python would say so, when its task is cancelled before it began.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        # Its name, frame and code, for whoever prints the task or its stack.
        return getattr(self._inner, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def send(self, value: Any) -> Any:
        """Go on until the next await."""
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _escaped(error) from error

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        try:
            return self._inner.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _escaped(raised) from raised

    def close(self) -> None:
        """End it where it stands."""
        self._inner.close()


def _escaped(error: BaseException) -> Escaped:
    said = f"({error})" if str(error) else ""
    return Escaped(f"a task that the handler started raised {type(error).__name__}{said}")


def task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> Any:
    """Make a task; one that an attempt starts is contained, and remembered with the attempt."""
    # Whose it is says the context that it runs in: a shared task is started in an empty one.
    into: contextvars.Context | None = kwargs.get("context")
    context = current.get() if into is None else into.get(current)
    if context is None:
        return asyncio.Task(coro, loop=loop, **kwargs)
    task = asyncio.Task(Contained(coro) if asyncio.iscoroutine(coro) else coro, loop=loop, **kwargs)
    if context.leaks is None:
        context.leaks = set()
    context.leaks.add(task)
    task.add_done_callback(context.leaks.discard)
    return task


def shared_task(coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that works for all: whichever handler happened to need it first does not own it, nor end it."""
    return asyncio.get_running_loop().create_task(coro, context=contextvars.Context())


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
