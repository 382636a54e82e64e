"""The workers of a process at this broker: what each has been given, and waits for."""

from __future__ import annotations

import asyncio
from typing import Final

from flux.brokers.redis.settlements import Receipt
from flux.brokers.redis.wakes import MOST_WORKERS, Bell
from flux.engine.ports import Demand, Offer

NOTHING: Final = Offer(ids=())

BATCH: Final = 500
"""The most hints of one offer."""

MANY: Final = 100
"""From so many hints at once on, the next are asked for while these are being claimed."""

HOLD: Final = 0.25
"""Seconds within which a quick worker comes for more; so long do hints that were fetched ahead wait for it."""


class Seat:
    """A worker of this process."""

    def __init__(self) -> None:
        self.waiting = ""
        """The entry that it may have among those who wait."""
        self.fresh_until = 0.0
        """When it looks again at what was given back."""
        self.turn = 0
        """Counts its receives."""
        self.ahead: asyncio.Task[Offer] | None = None
        """The answer to come, or to be had, of a look before its time."""
        self._filled_at = -HOLD

    def wants_ahead(self, demand: Demand, offer: Offer, now: float) -> bool:
        """Whether this worker will soon come for more: it got all that it asked for, and has room left or was quick."""
        many = len(offer.ids or ())
        if many < max(MANY, min(BATCH, demand.slots)) or any(
            room < demand.slots for room in demand.queues.values()
        ):
            return False
        quick, self._filled_at = now - self._filled_at < HOLD, now
        return many < demand.slots or quick

    def take_ahead(self) -> asyncio.Task[Offer] | None:
        """What was fetched ahead; it is whoever's calls this."""
        ahead, self.ahead = self.ahead, None
        return ahead


class Seats(dict[str, Seat]):
    """By the worker's id."""

    def of(self, worker_id: str) -> Seat:
        """This worker's, new if it is not known."""
        seat = self.get(worker_id)
        if seat is None:
            # Ids are new at each lapse of a lease: what the old ones hold is taken over.
            for stale in list(self)[:-MOST_WORKERS]:
                del self[stale]
            seat = self[worker_id] = Seat()
        return seat


def handed_over(bell: Bell) -> Offer:
    """The hints that came along with wake-ups; whoever rings from here on is news."""
    given = [word.split(" ") for word in bell.quiet() if word]
    if not given:
        return NOTHING
    return Offer(
        tuple(id for id, _, _ in given), tuple(Receipt(lane, tried=tried) for _, lane, tried in given)
    )


def divide(offer: Offer, room: int) -> tuple[Offer, Offer]:
    """What there is room for, and the rest."""
    ids = offer.ids or ()
    return Offer(ids[:room], offer.receipts[:room]), Offer(ids[room:], offer.receipts[room:])
