"""Handlers with ``isolation="process"``: a pool of child processes that can be killed.

A child is a fresh interpreter that serves many attempts of many handlers, one after the other. Stopping an attempt
(deadline, cancel, shutdown) is the cancellation of ``run``: the child is killed with everything that the handler
started. A spare is kept warm while there is work, so that the next attempt need not wait for an interpreter.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from flux.domain.job import ClaimedJob, ErrorKind
from flux.engine.childprocess import ChildProcess, Died
from flux.engine.context import Desk
from flux.engine.ending import RELEASED, Ending, failed
from flux.engine.handler import Handler

logger = logging.getLogger("flux.isolation")

MOST_WARM = 8
"""Targets that a new child imports before its first job."""

MOST_TURNS = 3
"""Children that may die before they take an attempt until it counts as the attempt's fault."""


class ProcessPool:
    """At most ``most`` children; those without work for ``idle`` seconds are ended.

    ``max_result`` bounds the bytes of a result. Use it within one event loop, and close it there.
    """

    def __init__(self, most: int, *, max_result: int, idle: float = 60.0) -> None:
        self._most = most
        self._max_result = max_result
        self._idle_for = idle
        self._starting: set[ChildProcess] = set()
        self._idle: list[ChildProcess] = []
        self._busy: set[ChildProcess] = set()
        self._leaving: set[ChildProcess] = set()
        self._waiting: deque[asyncio.Future[ChildProcess]] = deque()
        self._warm: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def busy(self) -> int:
        """How many children have an attempt."""
        return len(self._busy)

    async def run(self, handler: Handler, claimed: ClaimedJob, desk: Desk) -> Ending:
        """Run one attempt in a child; cancelling this kills the child and waits until it is gone."""
        if handler.target is None:
            return failed(
                ErrorKind.CRASHED, "the handler cannot be found by a child process: it has no target"
            )
        for turn in range(1, MOST_TURNS + 1):
            try:
                child = await self._take()
                return await self._run_in(child, handler, claimed, desk)
            except Died as death:
                if self._closed:
                    return RELEASED
                # One that died before it took the attempt died of something else.
                if death.taken or turn == MOST_TURNS:
                    logger.warning("job %s (%s): %s", claimed.id, claimed.type, death)
                    return failed(ErrorKind.CRASHED, str(death))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """End all children and wait for them. Attempts that still run are killed, and end as released."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(Died("the worker is leaving", taken=False))
        self._waiting.clear()
        for child in (*self._starting, *self._busy):
            child.kill()
        for child in self._idle:
            child.end()
        everyone = [*self._starting, *self._busy, *self._idle, *self._leaving]
        try:
            for child in everyone:
                await child.gone.wait()
        except asyncio.CancelledError:
            for child in everyone:
                child.kill()
            raise

    # --- one attempt ---

    async def _run_in(self, child: ChildProcess, handler: Handler, claimed: ClaimedJob, desk: Desk) -> Ending:
        try:
            ending = await child.run(handler, claimed, desk, self._max_result)
        except Died:
            raise
        except BaseException:
            child.kill("was stopped by the worker")
            self._leave(child)
            self._fill(spare=True)
            await child.gone.wait()
            raise
        if child in self._busy:
            self._returned(child, handler)
        return ending

    def _returned(self, child: ChildProcess, handler: Handler) -> None:
        assert handler.target is not None
        if child.retire is None:
            self._warm.pop(handler.target, None)
            self._warm[handler.target] = None
            if len(self._warm) > MOST_WARM:
                del self._warm[next(iter(self._warm))]
            self._offer(child)
            return
        logger.info("the process of %s is replaced: %s", handler.type, child.retire)
        child.end()
        self._leave(child)
        self._fill(spare=True)

    # --- who has which child ---

    async def _take(self) -> ChildProcess:
        if self._closed:
            raise RuntimeError("the pool of child processes is closed")
        if self._idle:
            # The one that was used last: its caches are warm, and the others may grow old and leave.
            child = self._idle.pop()
            self._busy.add(child)
            self._fill(spare=True)
            return child
        waiter: asyncio.Future[ChildProcess] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._fill(spare=False)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def _offer(self, child: ChildProcess) -> None:
        """A child without work: to whoever waits longest, or to rest."""
        self._starting.discard(child)
        self._busy.discard(child)
        if child.gone.is_set():
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._busy.add(child)
                waiter.set_result(child)
                self._fill(spare=True)
                return
        loop = asyncio.get_running_loop()
        child.idle_since = loop.time()
        self._idle.append(child)
        if self._timer is None and not self._closed:
            self._timer = loop.call_later(self._idle_for, self._expire)

    def _leave(self, child: ChildProcess) -> None:
        self._starting.discard(child)
        self._busy.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        if not child.gone.is_set():
            self._leaving.add(child)

    def _fill(self, *, spare: bool) -> None:
        """Start children for those who wait, and one to spare."""
        wanted = len(self._waiting) + spare
        while not self._closed and len(self._starting) + len(self._idle) < wanted:
            if len(self._starting) + len(self._idle) + len(self._busy) >= self._most:
                return
            try:
                self._starting.add(ChildProcess(list(self._warm), self._offer, self._over))
            except OSError as error:
                logger.warning("a child process could not be started: %s", error)
                self._refuse(f"the handler's process could not be started: {error}")
                return

    def _refuse(self, why: str) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Died(why, taken=True))
                return

    def _over(self, child: ChildProcess) -> None:
        """A child was reaped."""
        self._leaving.discard(child)
        if child in self._starting:
            self._starting.discard(child)
            if child.warmed:
                # An import may have ended it: the next one starts without.
                self._warm.clear()
            elif not self._closed:
                logger.warning("a child process could not start: %s", child.sentence())
                self._refuse(f"{child.sentence()} before it could start")
            self._fill(spare=False)
        elif child in self._idle:
            self._idle.remove(child)
            self._warm.clear()
            self._fill(spare=True)
        elif child in self._busy:
            self._busy.discard(child)
            self._fill(spare=True)

    def _expire(self) -> None:
        """End children that have rested for long; while others work, one stays as the spare."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        keep = 1 if self._busy else 0
        for child in self._idle[: len(self._idle) - keep]:
            if now - child.idle_since >= self._idle_for:
                child.end()
                self._leave(child)
        if self._idle:
            next_at = max(self._idle[0].idle_since + self._idle_for, now + self._idle_for / 10)
            self._timer = asyncio.get_running_loop().call_later(next_at - now, self._expire)
