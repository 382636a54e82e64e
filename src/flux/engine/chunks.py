"""Chunk handlers: attempts of one type, gathered until there are enough of them or one has waited long enough, and
their one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from flux.engine import ending as endings
from flux.engine.attempt import Attempt, Room
from flux.engine.capture import current
from flux.engine.ending import Ending
from flux.engine.handler import BadResult, Handler, Mode
from flux.engine.threads import Raised


class Chunks:
    """The chunks of a worker that are being filled."""

    def __init__(self, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        self._room = room
        self._loop = loop
        self._filling: dict[str, list[Attempt]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, attempt: Attempt, spent: int) -> None:
        """Put an attempt into the chunk of its type; its deadline counts already, ``spent`` µs of it are over."""
        attempt.arm(self._loop, spent)
        if attempt.stop_reason is not None:
            return
        kind = attempt.handler.type
        # Those that were stopped while they waited are over, and take nobody's place.
        filling = [other for other in self._filling.get(kind, ()) if other.stop_reason is None]
        filling.append(attempt)
        self._filling[kind] = filling
        if len(filling) >= attempt.handler.chunk:
            self._run(kind)
        else:
            self._start_by(kind, self._loop.time() + _patience(attempt, spent) / 1_000_000)

    def flush(self) -> None:
        """Run what has gathered without waiting for more."""
        for kind in list(self._filling):
            self._run(kind)

    def _start_by(self, kind: str, latest: float) -> None:
        """Whoever has the least patience says when the chunk starts."""
        timer = self._timers.get(kind)
        if timer is not None:
            if timer.when() <= latest:
                return
            timer.cancel()
        self._timers[kind] = self._loop.call_at(latest, self._run, kind)

    def _run(self, kind: str) -> None:
        attempts = [attempt for attempt in self._filling.pop(kind, ()) if attempt.stop_reason is None]
        timer = self._timers.pop(kind, None)
        if timer is not None:
            timer.cancel()
        if attempts:
            task = self._loop.create_task(run_chunk(attempts, self._room))
            for attempt in attempts:
                attempt.join(task)


def _patience(attempt: Attempt, spent: int) -> int:
    """The µs that it can wait for others: its timeout is there for running, so half of it is kept for that."""
    wait, timeout = attempt.handler.chunk_wait, attempt.timeout
    return wait if timeout is None else max(0, min(wait, timeout // 2 - spent))


async def run_chunk(attempts: Sequence[Attempt], room: Room) -> None:
    """Run several attempts of one type in one call of their handler, which answers for each."""
    handler = attempts[0].handler
    assert handler.call_chunk is not None
    going = [attempt for attempt in attempts if attempt.begin()]
    for attempt in attempts:
        if attempt.stop_reason is not None:
            # Told to stop between the start of the chunk and its first step.
            attempt.settle(endings.RELEASED)
    attempts = going
    if not attempts:
        return
    contexts = [attempt.context for attempt in attempts]
    for context in contexts[1:]:
        context.first = contexts[0]
    attempts[0].listen(attempts)
    results: list[Ending]
    current.set(contexts[0])
    try:
        if handler.mode is Mode.THREAD:
            call_chunk = handler.call_chunk
            values = await room.threads.run(lambda: call_chunk(contexts))
        else:
            answer: Awaitable[Any] = handler.call_chunk(contexts)
            values = await answer
        results = _of_chunk(values, len(attempts), handler, room.max_result)
    except BaseException as error:
        raised = error.error if isinstance(error, Raised) else error
        told = any(attempt.stop_reason for attempt in attempts)
        if isinstance(raised, asyncio.CancelledError) and told:
            results = [endings.RELEASED] * len(attempts)
        else:
            results = [endings.of_exception(raised, handler.no_retry)] * len(attempts)
    for attempt, ending in zip(attempts, results, strict=True):
        attempt.settle(ending)


def _of_chunk(values: Any, count: int, handler: Handler, most: int) -> list[Ending]:
    if values is None:
        return [endings.NOTHING] * count
    if not isinstance(values, (list, tuple)) or len(values) != count:
        return [endings.of_exception(BadResult(values, count))] * count
    return [
        endings.of_exception(value, handler.no_retry)
        if isinstance(value, BaseException)
        else endings.of_value(value, most)
        for value in values
    ]
