"""A worker's lease: kept by its own thread and connection, ended by the worker itself before others may take over."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from flux.domain.errors import FluxError, LeaseLost
from flux.engine.ports import Clock, Leases, Renewal

logger = logging.getLogger("flux.lease")


class Lease:
    """One lease, from register to lapse. ``keep`` renews it at a third of its length.

    The worker advances ``beats`` from its event loop; a loop that has not moved for one lease stops the renewals, so
    that what it holds is rescued. ``safe_until`` is counted from the *sending* of the last good heartbeat, on the
    monotonic clock: past it the worker must not run anything.
    """

    def __init__(
        self,
        worker_id: str,
        length: int,
        clock: Clock,
        sent: int,
        on_orders: Callable[[Renewal], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.worker_id = worker_id
        self.length = length
        self.beats = 0
        self.lost = False
        self._clock = clock
        # Made in the event loop's thread: where that stands is what a person wants to know when it is stuck.
        self._loop_thread = threading.get_ident()
        self._last_good = sent
        self._on_orders = on_orders
        self._on_lost = on_lost

    @property
    def safe_until(self) -> int:
        """Until when (monotonic µs) this worker may run handlers: a tenth before the lease can end at the store."""
        return self._last_good + self.length - self.length // 10

    def complaint(self) -> str:
        """Why it does not hold any more."""
        if self.lost:
            return "it had lapsed at the store"
        silent = self._clock.monotonic() - self._last_good
        return f"no heartbeat has reached the store for {silent / 1_000_000:.1f} s"

    async def keep(self, leases: Leases) -> None:
        """Renew until cancelled or lost; runs in a thread of its own, on a connection of its own."""
        pause = self.length / 3 / 1_000_000
        seen, moved_at = self.beats, self._clock.monotonic()
        said_at = 0
        try:
            while not self.lost:
                await asyncio.sleep(pause)
                now = self._clock.monotonic()
                if self.beats != seen:
                    seen, moved_at, said_at = self.beats, now, 0
                if now - moved_at >= self.length:
                    if now - moved_at >= 2 * said_at:
                        said_at = now - moved_at
                        logger.error(
                            "the event loop has not moved for %.1f s, it stands %s: renewals stop, so that its jobs "
                            'are rescued; code that holds the interpreter belongs in isolation="process"',
                            said_at / 1_000_000,
                            _stands(self._loop_thread),
                        )
                    pause = self.length / 3 / 1_000_000
                    continue
                pause = await self._renew(leases, now)
        finally:
            await leases.close()

    async def _renew(self, leases: Leases, now: int) -> float:
        third = self.length / 3 / 1_000_000
        # A connection may have died without a word: half of what is left is for trying another one.
        patience = max((self.safe_until - now) / 2, self.length / 10) / 1_000_000
        try:
            async with asyncio.timeout(patience):
                renewal = await leases.renew(self.worker_id, self.length)
        except LeaseLost:
            self.lost = True
            self._on_lost()
            return third
        except (FluxError, TimeoutError) as error:
            why = str(error) or f"no answer for {patience:.1f} s"
            left = (self.safe_until - self._clock.monotonic()) / 1_000_000
            logger.warning(
                "heartbeat failed (%s); handlers are stopped in %.1f s unless one succeeds", why, left
            )
            return min(third, 0.5)
        self._last_good = now
        if renewal.cancels or renewal.drain:
            self._on_orders(renewal)
        return third


def _stands(thread: int) -> str:
    """Where a thread is in code that is not the standard library's."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return "nowhere"
    stack = traceback.extract_stack(frame)
    library = os.path.dirname(os.__file__)
    theirs = [at for at in stack if not at.filename.startswith((library, "<"))] or stack
    return f"in {theirs[-1].name} ({theirs[-1].filename} line {theirs[-1].lineno})"


class Keeper(Protocol):
    """Runs ``Lease.keep`` somewhere: a thread in production, a task in the simulation."""

    def start(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """End it and wait for its end."""
        ...


class ThreadKeeper:
    """A daemon thread with its own event loop: it goes on while the worker's loop is stuck."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = threading.Event()

    def start(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin."""
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(keep)), name="flux-lease", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """End it and wait for its end."""
        self._stopped.set()
        if self._thread is None:
            return
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._task.cancel)
        await asyncio.to_thread(self._thread.join, 5.0)

    async def _main(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.create_task(keep())
        self._loop = asyncio.get_running_loop()
        if self._stopped.is_set():
            self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        except Exception:
            logger.exception("the heartbeat ended by an error; the lease runs out")


class TaskKeeper:
    """A task in the same event loop, for the simulation."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, keep: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin."""
        self._task = asyncio.create_task(keep())

    async def stop(self) -> None:
        """End it and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
