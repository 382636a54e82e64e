"""What people do with workers."""

from __future__ import annotations

from flux.domain.errors import Conflict, NotFound
from flux.engine.ports import Store, WorkerView


class WorkerService:
    """Looking at workers, asking one to leave."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> list[WorkerView]:
        """Workers that live or were seen within the last hour, newest first."""
        return await self._store.queries.workers()

    async def drain(self, worker_id: str) -> WorkerView:
        """Ask it to finish what it runs and leave. Raises ``NotFound``, ``Conflict`` when it is gone already."""
        for worker in await self.list():
            if worker.info.id == worker_id:
                if not await self._store.queries.drain(worker_id):
                    raise Conflict(f"worker {worker_id} is gone already")
                worker.draining = True
                return worker
        raise NotFound(f"there is no worker {worker_id}")
