"""No broker: workers ask the store itself, as often as it has changed."""

from __future__ import annotations

from collections.abc import Sequence

from flux.engine.ports import Changes, Demand, Hint, Offer

_LOOK = Offer(ids=None)


class StoreBroker:
    """Offers "look by policy" whenever there may be something new. One for each worker."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._seen = -1  # nothing was looked at yet

    def look_again(self) -> None:
        """The last claim was as large as could be: there is likely more, without any further change."""
        self._seen = -1

    async def publish(self, hints: Sequence[Hint]) -> None:
        """The commit itself is the hint."""

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """See the port. Returns at once when the store has changed since the last look."""
        version = self._changes.version()
        if version <= self._seen:
            version = await self._changes.wait(self._seen, timeout)
            if version <= self._seen:
                return None
        # Taken before the look: what changes during it is a reason for another one.
        self._seen = version
        return _LOOK

    async def acknowledge(self, offer: Offer) -> None:
        """There is nothing to drop."""

    async def health(self) -> str | None:
        """As well as the store."""
        return None
