"""What people do with workers."""

from __future__ import annotations

from flux.domain.errors import Conflict, NotFound
from flux.engine.ports import Store, WorkerView

MOST_RUNNING = 100
"""Jobs shown of one worker: those that started first. ``busy`` counts all."""


class WorkerService:
    """Looking at workers, asking one to leave."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, running: int = 0) -> list[WorkerView]:
        """Workers that live or were seen within the last hour, newest first; with up to ``running`` jobs of each."""
        return await self._store.queries.workers(running)

    async def drain(self, worker_id: str) -> WorkerView:
        """Ask it to finish what it runs and leave. Raises ``NotFound``, ``Conflict`` when it is gone already."""
        for worker in await self.list(MOST_RUNNING):
            if worker.info.id == worker_id:
                if not await self._store.queries.drain(worker_id):
                    raise Conflict(f"worker {worker_id} is gone already")
                worker.draining = True
                return worker
        raise NotFound(f"there is no worker {worker_id}")
