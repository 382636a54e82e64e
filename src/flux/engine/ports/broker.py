"""What carries hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from flux.engine.ports.jobs import Demand
from flux.engine.ports.lanes import Lanes


class Hint(msgspec.Struct, frozen=True):
    """ "Job J may be runnable", for the lane (queue, priority)."""

    job_id: str
    queue: str
    priority: int


class Offer(msgspec.Struct, frozen=True):
    """What a broker hands a worker: ids to claim, or None: "look by policy".

    ``receipts`` are the broker's own: by what it knows each of the ids again.
    """

    ids: tuple[str, ...] | None
    receipts: tuple[Any, ...] = ()


class Broker(Protocol):
    """Carries hints. Losing, repeating or delaying one costs time and never a job."""

    @property
    def name(self) -> str:
        """What it is, for health and logs: ``store``, ``redis``."""
        ...

    @property
    def lanes(self) -> Lanes | None:
        """Where it holds hints for the dispatcher to look after; None when it holds none."""
        ...

    async def open(self) -> None:
        """Connect. One that is away is no error; one that must not be used as it is set up raises ``FluxError``."""
        ...

    async def close(self) -> None:
        """Give back what was not claimed, and disconnect."""
        ...

    async def publish(self, hints: Sequence[Hint]) -> None:
        """Offer hints. A failure is no error for the caller of enqueue: the dispatcher hints again."""
        ...

    async def poke(self) -> None:
        """Jobs have become available that nobody hinted: let the dispatcher look at once. Never fails."""
        ...

    async def receive(self, demand: Demand, timeout: float) -> Offer | None:
        """Wait for something that fits the demand; None after ``timeout`` seconds.

        The highest priority first (with ``lowest_first`` the lowest), at most ``slots`` ids, of each queue at most what
        ``queues`` says.
        """
        ...

    async def acknowledge(self, offer: Offer, demand: Demand, claimed: Sequence[str]) -> None:
        """Of the offer these ids were claimed: drop their hints.

        The others are stale, or for somebody else. As many claimed as demanded: there may be more.
        """
        ...

    async def health(self) -> str | None:
        """None when well, else one sentence."""
        ...
