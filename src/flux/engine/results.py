"""Waiting for jobs to end: one look at the store for all waiters of a process, whenever something changed."""

from __future__ import annotations

import asyncio

from flux.domain.errors import FluxError
from flux.domain.job import FINAL
from flux.engine.capture import shared_task
from flux.engine.ports import Store, Topic

LONGEST_SLEEP = 1.0
"""Seconds between two looks when no change was announced."""


class Results:
    """Tells callers when their jobs are final."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._looker: asyncio.Task[None] | None = None

    async def ended(self, job_id: str, timeout: float) -> bool:
        """Return True once the job is final (or gone), False after ``timeout`` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        if self._looker is None or self._looker.done():
            self._looker = shared_task(self._look())
        try:
            async with asyncio.timeout(timeout):
                await future
            return True
        except TimeoutError:
            return False
        finally:
            waiters = self._waiting.get(job_id)
            if waiters is not None:
                waiters.discard(future)
                if not waiters:
                    del self._waiting[job_id]

    async def close(self) -> None:
        """Stop looking; whoever still waits is cancelled."""
        if self._looker is not None:
            self._looker.cancel()
            await asyncio.wait([self._looker])
        for waiters in list(self._waiting.values()):
            for future in waiters:
                future.cancel()

    async def _look(self) -> None:
        seen = self._store.changes.version(Topic.ENDED)
        while self._waiting:
            asked = list(self._waiting)
            try:
                states = await self._store.queries.states(asked)
            except FluxError:
                await asyncio.sleep(LONGEST_SLEEP)
                continue
            for job_id in asked:
                state = states.get(job_id)
                if state is None or state in FINAL:
                    for future in self._waiting.get(job_id, ()):
                        if not future.done():
                            future.set_result(None)
            # Let the waiters leave before the next look.
            await asyncio.sleep(0)
            if self._waiting:
                seen = await self._store.changes.wait(seen, LONGEST_SLEEP, Topic.ENDED)
