"""No broker: workers ask the store itself, as often as it has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flux.engine.ports import Changes, Demand, Hint, Offer, Topic

_LOOK = Offer(ids=None)
_NEVER = -1
_WORKERS = 256


class _Changing(Protocol):
    """A store, or whatever else tells of its changes."""

    @property
    def changes(self) -> Changes: ...


class StoreBroker:
    """Offers "look by policy" whenever there may be something new.

    A worker has looked at a version of the store once its claim is acknowledged: a claim that failed is a reason to
    look again, and so is one that took all it could.
    """

    name = "store"
    lanes = None

    def __init__(self, store: _Changing) -> None:
        self._changes = store.changes
        self._looked: dict[str, int] = {}
        self._looking: dict[str, int] = {}

    async def open(self) -> None:
        """The store is opened by whoever has it."""

    async def close(self) -> None:
        """Nothing is held."""

    async def publish(self, hints: Sequence[Hint]) -> None:
        """The commit itself is the hint."""

    async def poke(self) -> None:
        """So it is here."""

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """See the port. Returns at once when the store has changed since this worker's last look."""
        worker = demand.worker_id
        looked = self._looked.get(worker, _NEVER)
        # Taken before the look: what changes during it is a reason for another one.
        version = self._changes.version(Topic.AVAILABLE)
        if version <= looked:
            version = await self._changes.wait(looked, timeout, Topic.AVAILABLE)
            if version <= looked:
                # Wake-ups are a help and no promise: after a long silence the next call looks anyway.
                self.look_again(worker)
                return None
        _remember(self._looking, worker, version)
        return _LOOK

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: Sequence[str]) -> None:
        """See the port."""
        version = self._looking.pop(demand.worker_id, _NEVER)
        if len(claimed) >= demand.slots:
            self.look_again(demand.worker_id)
            return
        _remember(self._looked, demand.worker_id, version)

    def look_again(self, worker_id: str) -> None:
        """There may be more without any further change."""
        self._looked.pop(worker_id, None)

    async def health(self) -> str | None:
        """As well as the store."""
        return None


def _remember(versions: dict[str, int], worker_id: str, version: int) -> None:
    """Ids are new at each lapse of a lease: of those that never come again only so many are kept."""
    versions.pop(worker_id, None)
    while len(versions) >= _WORKERS:
        versions.pop(next(iter(versions)))
    versions[worker_id] = version
