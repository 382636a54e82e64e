"""The way from the SDK to jobs: the engine in this process, a server, or a stand-in for tests."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from flux.domain.job import Job, JobState
from flux.domain.request import JobRequest
from flux.engine.ports import Here

if TYPE_CHECKING:
    from flux.engine.engine import Engine


class Accepted(Protocol):
    """What is known of a job right after it was accepted."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def state(self) -> JobState:
        """The state it came to."""
        ...


class Door(Protocol):
    """What the SDK asks for; raises the errors of ``flux.domain.errors``, whichever door it is."""

    async def submit(self, requests: Sequence[JobRequest]) -> Sequence[Accepted]:
        """Accept jobs in one transaction, all or none, answers in the same order."""
        ...

    async def submit_within(
        self, connection: object, here: Here | None, requests: Sequence[JobRequest]
    ) -> Sequence[Accepted]:
        """The same in the transaction that is open on a caller's own connection, which is used ``here``."""
        ...

    async def get(self, job_id: str) -> Job:
        """One job with everything."""
        ...

    async def cancel(self, job_id: str, reason: str | None) -> Job:
        """Cancel it."""
        ...

    async def retry(self, job_id: str) -> Job:
        """Retry it."""
        ...

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is final, or as it stands after ``timeout`` seconds."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class EngineDoor:
    """The engine in this process. ``owned``: closing the door closes the engine."""

    def __init__(self, engine: Engine, owned: bool = True) -> None:
        self.engine = engine
        self._owned = owned

    async def submit(self, requests: Sequence[JobRequest]) -> Sequence[Accepted]:
        """See ``Door``."""
        if len(requests) == 1:
            return [(await self.engine.jobs.submit(requests[0])).job]
        return await self.engine.jobs.submit_many(list(requests)) if requests else []

    async def submit_within(
        self, connection: object, here: Here | None, requests: Sequence[JobRequest]
    ) -> Sequence[Accepted]:
        """See ``Door``."""
        return await self.engine.jobs.submit_within(connection, list(requests), here)

    async def get(self, job_id: str) -> Job:
        """See ``Door``."""
        return await self.engine.jobs.get(job_id)

    async def cancel(self, job_id: str, reason: str | None) -> Job:
        """See ``Door``."""
        return await self.engine.jobs.cancel(job_id, reason)

    async def retry(self, job_id: str) -> Job:
        """See ``Door``."""
        return await self.engine.jobs.retry(job_id)

    async def wait(self, job_id: str, timeout: float) -> Job:
        """See ``Door``."""
        return await self.engine.jobs.wait(job_id, timeout)

    async def close(self) -> None:
        """See ``Door``."""
        if self._owned:
            await self.engine.close()


class _Slot:
    """The door of one event loop, and the lock under which it is opened."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.door: Door | None = None


class Doors:
    """One door an event loop, opened when first used: connections belong to the loop that made them."""

    def __init__(self, opened: Callable[[], Awaitable[Door]]) -> None:
        self._opened = opened
        self._slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Slot] = weakref.WeakKeyDictionary()
        self._guard = threading.Lock()
        self.stand_in: Door | None = None

    async def here(self) -> Door:
        """The door of the running loop."""
        if self.stand_in is not None:
            return self.stand_in
        slot = self._slot()
        if slot.door is None:
            async with slot.lock:
                if slot.door is None:
                    slot.door = await self._opened()
        return slot.door

    def is_open(self) -> bool:
        """Whether the running loop has one."""
        return self.stand_in is not None or self._slot().door is not None

    def put(self, door: Door | None) -> Door | None:
        """Use this door on the running loop; the one that was there."""
        slot = self._slot()
        before, slot.door = slot.door, door
        return before

    async def close_here(self) -> None:
        """Close the running loop's door; the next use opens another."""
        door = self.put(None)
        if door is not None:
            await door.close()

    def _slot(self) -> _Slot:
        loop = asyncio.get_running_loop()
        with self._guard:
            slot = self._slots.get(loop)
            if slot is None:
                # Loops that ended without a farewell: their doors can no longer be closed, only dropped.
                for ended in [known for known in self._slots if known.is_closed()]:
                    del self._slots[ended]
                slot = self._slots[loop] = _Slot()
            return slot
