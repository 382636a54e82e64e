"""Chunk handlers: attempts of one type gathered until there are enough of them or the first has waited long enough."""

from __future__ import annotations

import asyncio

from flux.engine.attempt import Attempt, Room, run_chunk


class Chunks:
    """The chunks of a worker that are being filled."""

    def __init__(self, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        self._room = room
        self._loop = loop
        self._filling: dict[str, list[Attempt]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def add(self, attempt: Attempt) -> None:
        """Put an attempt into the chunk of its type; its deadline counts from here."""
        kind = attempt.handler.type
        filling = self._filling.setdefault(kind, [])
        filling.append(attempt)
        attempt.arm(self._loop)
        if len(filling) >= attempt.handler.chunk:
            self._run(kind)
        elif len(filling) == 1:
            self._timers[kind] = self._loop.call_later(
                attempt.handler.chunk_wait / 1_000_000, self._run, kind
            )

    def flush(self) -> None:
        """Run what has gathered without waiting for more."""
        for kind in list(self._filling):
            self._run(kind)

    def _run(self, kind: str) -> None:
        attempts = self._filling.pop(kind, [])
        timer = self._timers.pop(kind, None)
        if timer is not None:
            timer.cancel()
        if attempts:
            task = self._loop.create_task(run_chunk(attempts, self._room))
            for attempt in attempts:
                attempt.join(task)
