"""What a handler may know and say while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from flux.domain.job import ClaimedJob, LogLine, Options
from flux.domain.request import encode_value, json_problem

MOST_LINES = 1000
"""Log lines kept of one attempt; what comes after is counted, not kept."""

MOST_REMARK = 1 << 20
"""Bytes of a checkpoint or of a progress."""

LONGEST_LINE = 8192
"""Characters kept of one log line."""


class Desk(Protocol):
    """Where an attempt's remarks go while it runs: the worker's side, or a pipe to it from a child process."""

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        """Keep a remark; written in batches soon after. May be called from any thread."""
        ...

    def heartbeat(self, job: ClaimedJob) -> None:
        """Show within a second that the attempt gets on; cheap however often. May be called from any thread."""
        ...

    async def flush(self) -> None:
        """Return when everything said so far is stored."""
        ...

    def now(self) -> int:
        """Wall time in microseconds, for log lines."""
        ...


class Context:
    """One attempt of one job, as its handler sees it.

    Safe to use from the thread or task that runs the handler. ``job_id``, ``type``, ``queue``, ``attempt`` (from 1),
    ``max_attempts``, ``headers``, ``tags``, ``payload`` (decoded JSON) describe the job; ``logger`` writes lines that
    are kept with the attempt; ``heartbeat`` says that long work gets on, and where it should end; ``result`` is what a
    ``transaction`` commits.

    The engine counts the ``beats`` of a handler and marks it as ``stopped``. Of a chunk, which is one call, those of
    its ``first`` attempt count.
    """

    __slots__ = (
        "_cancelled",
        "_decoded",
        "_desk",
        "_lines",
        "_options",
        "beats",
        "claimed",
        "closed",
        "first",
        "leaks",
        "result",
        "state",
        "stopped",
        "transact",
    )

    def __init__(self, claimed: ClaimedJob, desk: Desk) -> None:
        self.claimed = claimed
        self._desk = desk
        self._lines = 0
        self._options: Options | None = None
        self._decoded: Any = msgspec.UNSET
        self._cancelled: threading.Event | None = None
        self.leaks: set[asyncio.Task[Any]] | None = None
        self.state: dict[str, Any] | None = None
        self.closed = False
        self.beats = 0
        self.stopped = False
        self.first: Context | None = None
        self.result: Any = msgspec.UNSET
        self.transact: Callable[[str], AbstractAsyncContextManager[Any]] | None = None

    # --- the job ---

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.claimed.id

    @property
    def type(self) -> str:
        """The job's type."""
        return self.claimed.type

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self.claimed.queue

    @property
    def priority(self) -> int:
        """1 to 10."""
        return self.claimed.priority

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.claimed.attempt

    @property
    def max_attempts(self) -> int:
        """The number of the last attempt that the job may have."""
        return self.claimed.attempt_limit

    @property
    def payload(self) -> Any:
        """The payload, decoded."""
        if self._decoded is msgspec.UNSET:
            self._decoded = msgspec.json.decode(self.claimed.payload)
        return self._decoded

    @property
    def options(self) -> Options:
        """Tags, headers and the other things that only some jobs carry."""
        if self._options is None:
            raw = self.claimed.options
            self._options = Options() if raw is None else msgspec.json.decode(raw, type=Options)
        return self._options

    @property
    def headers(self) -> Mapping[str, str]:
        """What the caller sent along (trace context, tenant)."""
        return self.options.headers

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags."""
        return self.options.tags

    @property
    def schedule_id(self) -> str | None:
        """The schedule whose occurrence this is."""
        return self.claimed.schedule_id

    @property
    def last_checkpoint(self) -> Any:
        """What an earlier attempt kept with ``checkpoint``, or None."""
        raw = self.claimed.checkpoint
        return None if raw is None else msgspec.json.decode(raw)

    # --- a transaction ---

    def transaction(
        self, isolation: Literal["read_committed", "repeatable_read", "serializable"] = "read_committed"
    ) -> AbstractAsyncContextManager[Any]:
        """``async with ctx.transaction() as conn:`` what is written on ``conn`` and the job's success commit together.

        ``conn`` is an asyncpg connection in a transaction of Flux's PostgreSQL. At the end of the block the job
        succeeds with ``ctx.result`` (None when that was not set) as the last statement before the commit; what comes
        after the block changes nothing any more. An exception, a cancel, a deadline or a lost claim rolls everything
        back. Raises ``RuntimeError`` where there is none: in handlers that are not ``async def``, in chunks and in
        direct calls; and on entering ``FluxError`` when the store is not PostgreSQL.
        """
        if self.transact is None:
            raise RuntimeError(
                "ctx.transaction() is for `async def` handlers that a worker runs: not for synchronous ones, chunks, "
                "isolated processes or direct calls"
            )
        return self.transact(isolation)

    # --- cancellation ---

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: cancelled, past its deadline, or its worker is leaving."""
        return self._cancelled is not None and self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """For loops in synchronous handlers: raise ``asyncio.CancelledError`` when the attempt should stop."""
        if self.cancelled:
            raise asyncio.CancelledError

    # --- what it says ---

    def heartbeat(self) -> Turn:
        """Say that long work gets on: ``ctx.heartbeat()``, or on an event loop ``await ctx.heartbeat()``.

        Raises ``asyncio.CancelledError`` when the attempt should end (cancelled, past a deadline, its worker leaving or
        without its lease), so that a synchronous handler can be stopped there. Awaited, it gives the event loop a turn.
        The time of the last one is shown as ``heartbeat_at``; a handler with a ``heartbeat_timeout`` is ended when it
        says none for so long. ``progress`` and ``checkpoint`` count as heartbeats and never raise. It costs about a
        microsecond: call it as often as you like.
        """
        self._beat()
        self._desk.heartbeat(self.claimed)
        if (self.first or self).stopped:
            raise asyncio.CancelledError
        return _TURN

    def progress(self, current: float, total: float | None = None, message: str | None = None) -> None:
        """Show how far it is: ``progress(30, 100, "resizing")`` or ``progress(0.3)``. Kept within a second."""
        raw = _remark({"current": current, "total": total, "message": message})
        self._beat()
        self._desk.note(self.claimed, progress=raw, checkpoint=None, log=None)

    def checkpoint(self, value: Any) -> _Stored:
        """Keep a cursor for the next attempt (``last_checkpoint``). Awaited, it returns when it is stored.

        Raises ``ValueError`` when JSON has no form for it, or when it is larger than 1 MiB.
        """
        raw = _remark(value)
        self._beat()
        self.claimed.checkpoint = raw.decode()
        self._desk.note(self.claimed, progress=None, checkpoint=raw, log=None)
        return _Stored(self._desk)

    def log(self, level: str, text: str) -> None:
        """Keep one line with this attempt; past 1,000 lines nothing more is kept, and a last line says so."""
        self._lines += 1
        if self._lines > MOST_LINES or self.closed:
            return
        if self._lines == MOST_LINES:
            level, text = "WARNING", f"more than {MOST_LINES} lines were logged; the rest is not kept"
        line = LogLine(self._desk.now(), level, clean(text))
        self._desk.note(self.claimed, progress=None, checkpoint=None, log=line)

    @property
    def logger(self) -> ContextLogger:
        """``ctx.logger.info("resized %s", name)``: lines kept with the attempt."""
        return ContextLogger(self)

    # --- the engine's side ---

    def _beat(self) -> None:
        (self.first or self).beats += 1

    def stop(self) -> None:
        """Let the handler's next heartbeat raise."""
        (self.first or self).stopped = True

    def cancel_flag(self) -> threading.Event:
        """The flag behind ``cancelled``, made when first asked for."""
        if self._cancelled is None:
            self._cancelled = threading.Event()
        return self._cancelled


def _remark(value: object) -> bytes:
    raw = encode_value(value)
    if problem := json_problem(raw, MOST_REMARK):
        raise ValueError(problem)
    return raw


def clean(text: str) -> str:
    """A log line that any store can keep: bounded, no NUL, no lone surrogates."""
    if len(text) > LONGEST_LINE:
        text = text[:LONGEST_LINE] + "… (cut)"
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


class Turn:
    """The answer of ``heartbeat``: may be awaited, need not be."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return asyncio.sleep(0).__await__()


_TURN = Turn()


class _Stored:
    """The answer of ``checkpoint``: may be awaited, need not be."""

    __slots__ = ("_desk",)

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __await__(self) -> Any:
        return self._desk.flush().__await__()


class ContextLogger:
    """A logger with the usual methods, whose lines are kept with the attempt."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def debug(self, message: str, *args: object) -> None:
        """Keep a line at DEBUG."""
        self._say("DEBUG", message, args)

    def info(self, message: str, *args: object) -> None:
        """Keep a line at INFO."""
        self._say("INFO", message, args)

    def warning(self, message: str, *args: object) -> None:
        """Keep a line at WARNING."""
        self._say("WARNING", message, args)

    def error(self, message: str, *args: object) -> None:
        """Keep a line at ERROR."""
        self._say("ERROR", message, args)

    def _say(self, level: str, message: str, args: tuple[object, ...]) -> None:
        try:
            text = message % args if args else str(message)
        except (TypeError, ValueError):
            text = f"{message} {args!r}"
        self._context.log(level, text)
