"""What the engine knows of a handler: how to call it, where it runs, and what its end means."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from flux.domain.words import plural

if TYPE_CHECKING:
    from flux.engine.context import Context


class Mode(StrEnum):
    """Where a handler runs."""

    ASYNC = "async"
    THREAD = "thread"
    PROCESS = "process"


class Handler(msgspec.Struct, kw_only=True, frozen=True):
    """A handler, compiled by the SDK.

    ``call`` takes the attempt's context and gives the handler's value (an awaitable of it for ``ASYNC``; for
    ``PROCESS`` it is called inside the child, where it may be either). It decodes the payload itself and raises
    ``BadArguments`` when that does not fit. With ``chunk`` above 0 it is ``call_chunk`` that is called, with up to so
    many contexts, and gives one value for each. ``target`` ("module:attribute") is how a child process finds this
    handler again: the attribute is an object with a ``handler`` of this class, or the application and ``#type``.
    ``heartbeat_timeout`` (µs) is how long it may say nothing.
    """

    type: str
    call: Callable[[Context], Any]
    mode: Mode = Mode.ASYNC
    no_retry: tuple[builtins.type[BaseException], ...] = ()
    chunk: int = 0
    chunk_wait: int = 0
    call_chunk: Callable[[Sequence[Context]], Any] | None = None
    memory: int | None = None
    target: str | None = None
    default_timeout: int | None = None
    heartbeat_timeout: int | None = None


class BadArguments(Exception):
    """The payload does not fit the handler's arguments; the text says where and why."""


class BadResult(Exception):
    """What a chunk handler answered is not one outcome for each of its jobs."""

    def __init__(self, answer: object, jobs: int) -> None:
        said = plural(len(answer), "outcome") if isinstance(answer, (list, tuple)) else type(answer).__name__
        super().__init__(
            f"a chunk handler answers with one outcome for each job ({plural(jobs, 'job')} here), not {said}"
        )


class Snooze:
    """``return Snooze("30s")``: run again later; uses no attempt."""

    __slots__ = ("delay",)

    def __init__(self, delay: str | int | float) -> None:
        from flux.domain.duration import parse_duration

        self.delay = parse_duration(delay)


class Cancel:
    """``return Cancel("reason")``: end the job as ``cancelled``."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Discard:
    """``return Discard("reason")``: end the job as ``dead`` without another attempt."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class RetryAfter(Exception):
    """``raise RetryAfter("1m")``: this attempt failed, and the next one starts then."""

    def __init__(self, delay: str | int | float, message: str = "") -> None:
        from flux.domain.duration import parse_duration

        self.delay = parse_duration(delay)
        super().__init__(message or f"retry after {delay}")
