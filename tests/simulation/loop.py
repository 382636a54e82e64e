"""An event loop whose time is virtual and whose order is seeded: hours pass in milliseconds, and every run can be
repeated.

Time stands still while anything is ready and then jumps to the next timer. What is ready belongs to *strands*, each of
which keeps the order that asyncio promises; which strand moves next is a matter of chance, as between processes. A
strand can be frozen (SIGSTOP) and a process killed between any two steps: what it would have done next never happens.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

STRAND: ContextVar[Strand] = ContextVar("simulation_strand")

LIVELOCK = 300_000
"""Steps in one instant after which the simulated system is taken to turn in circles."""


class Stuck(Exception):
    """Nothing is ready and no timer is set, or the same instant goes on for ever."""


class Strand:
    """What runs one after the other, as a thread with its event loop does."""

    __slots__ = ("frozen", "listed", "process", "ready")

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ready: deque[asyncio.Handle] = deque()
        self.frozen = False
        self.listed = False


class Process:
    """Strands that live and die together. ``fuse``: the steps left until it is killed."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.dead = False
        self.fuse: int | None = None
        self.on_fuse: Callable[[], None] | None = None
        self._loop = loop
        self.main = Strand(self)
        self.strands = [self.main]
        loop.processes.append(self)

    def strand(self) -> Strand:
        """One more strand."""
        strand = Strand(self)
        self.strands.append(strand)
        return strand

    def context(self, strand: Strand | None = None) -> Context:
        """A context whose tasks and timers belong to this process."""
        context = copy_context()
        context.run(STRAND.set, strand or self.main)
        return context

    def spawn(self, coroutine: Coroutine[Any, Any, T], strand: Strand | None = None) -> asyncio.Task[T]:
        """Start a task of this process."""
        return self._loop.create_task(coroutine, context=self.context(strand))

    def kill(self) -> None:
        """Between two steps, for good: no ``finally`` runs, nobody is told."""
        self.dead = True
        for strand in self.strands:
            self._loop.freeze(strand)

    def stop(self) -> None:
        """SIGSTOP."""
        for strand in self.strands:
            self._loop.freeze(strand)

    def go_on(self) -> None:
        """SIGCONT."""
        if not self.dead:
            for strand in self.strands:
                self._loop.thaw(strand)


class _Future(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address."""

    _serials = count()

    def __new__(cls, *args: Any, **kwargs: Any) -> _Future:
        self = super().__new__(cls)
        self._serial = next(cls._serials)
        return self

    def __hash__(self) -> int:
        return self._serial


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: asyncio.wait and others keep sets of them."""

    _serials = count()

    def __new__(cls, *args: Any, **kwargs: Any) -> _Task:
        self = super().__new__(cls)
        self._serial = next(cls._serials)
        return self

    def __hash__(self) -> int:
        return self._serial


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random.random
        self._now = 0.0
        self._steps_now = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = count()
        self._active: list[Strand] = []
        self.steps = 0
        self.processes: list[Process] = []
        self.world = Process(self, "world")
        # Held here, because nobody else holds the tasks of the dead, and a task that is collected runs its ``finally``.
        self._tasks: list[_Task] = []
        self._tasks_most = 1000
        self.set_task_factory(self._make_task)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> Any:
        task = _Task(coro, loop=loop, **kwargs)
        self._tasks.append(task)
        if len(self._tasks) > self._tasks_most:
            self._tasks = [each for each in self._tasks if not each.done()]
            self._tasks_most = 2 * len(self._tasks) + 1000
        return task

    # --- time ---------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Put a step at the end of its strand."""
        if context is None:
            context = copy_context()
        handle = events.Handle(callback, args, self, context)
        self._put(handle, context.get(STRAND) or self.world.main)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """From whichever strand of a process: into its main one, which is the loop that is meant."""
        if context is None:
            context = copy_context()
        strand = context.get(STRAND) or self.world.main
        context = context.copy()
        context.run(STRAND.set, strand.process.main)
        handle = events.Handle(callback, args, self, context)
        self._put(handle, strand.process.main)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        timer = events.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._serial), timer))
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return _Future(loop=self)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""

    def _write_to_self(self) -> None:
        """Nobody sleeps here."""

    # --- strands ------------------------------------------------------------------------------------------------

    def freeze(self, strand: Strand) -> None:
        """What is ready there waits."""
        strand.frozen = True
        if strand.listed:
            strand.listed = False
            self._active.remove(strand)

    def thaw(self, strand: Strand) -> None:
        """Let it go on."""
        strand.frozen = False
        if strand.ready and not strand.listed:
            strand.listed = True
            self._active.append(strand)

    def _put(self, handle: asyncio.Handle, strand: Strand) -> None:
        strand.ready.append(handle)
        if not strand.listed and not strand.frozen:
            strand.listed = True
            self._active.append(strand)

    # --- running ------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        active = self._active
        if not active:
            self._jump()
            if not active:
                return
        index = int(self._random() * len(active)) if len(active) > 1 else 0
        strand = active[index]
        ready = strand.ready
        process = strand.process
        # A few steps in a row: a process that has the processor keeps it for a while.
        for _ in range(1 + int(self._random() * 4)):
            if not ready or strand.frozen:
                break
            handle = ready.popleft()
            self._steps_now += 1
            if not handle._cancelled:
                self.steps += 1
                handle._run()
                if process.fuse is not None:
                    process.fuse -= 1
                    if process.fuse <= 0:
                        process.fuse = None
                        if process.on_fuse is not None:
                            process.on_fuse()
            if self._stopping:
                break
        if not ready and strand.listed:
            strand.listed = False
            active.remove(strand)
        if self._steps_now > LIVELOCK:
            raise Stuck(f"{LIVELOCK} steps at {self._now:.6f} s without any time passing")

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Stuck("nothing is ready and no timer is set")
        when = timers[0][0]
        if when > self._now:
            self._now = when
            self._steps_now = 0
        while timers and timers[0][0] <= self._now:
            _, _, timer = heapq.heappop(timers)
            if not timer._cancelled:
                self._put(timer, timer._context.get(STRAND) or self.world.main)

    def end(self) -> None:
        """The world is over: wake the dead and the stopped, so that every coroutine can be closed in order."""
        self._steps_now = 0
        for process in self.processes:
            process.fuse = None
            for strand in process.strands:
                self.thaw(strand)
        for _ in range(20):
            left = [task for task in self._tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            self._steps_now = 0
            self.run_until_complete(self._rest(left))

    async def _rest(self, left: list[asyncio.Task[Any]]) -> None:
        await asyncio.wait(left, timeout=100.0)
