"""The workers of a process at this broker: what each has been given, and waits for."""

from __future__ import annotations

from typing import Final

from flux.brokers.redis.settlements import Receipt
from flux.brokers.redis.wakes import MOST_WORKERS, Bell
from flux.engine.ports import Demand, Offer

NOTHING: Final = Offer(ids=())

BATCH: Final = 500
"""The most hints of one offer."""

MANY: Final = 20
"""A claim of so many jobs costs the store less by policy than by as many hints, each of which it looks up by itself."""

TURNS: Final = 4
"""One look of so many is for hints all the same: they take the queues of a priority in turn, and policy goes by age."""


class Seat:
    """A worker of this process."""

    def __init__(self) -> None:
        self.waiting = ""
        """The entry that it may have among those who wait."""
        self.fresh_until = 0.0
        """When it looks again at what was given back."""
        self.turn = 0
        """Counts its receives."""
        self.by_policy = False
        """Whether more is to be had by policy than hints would tell, or sooner."""

    @property
    def passes_hints_by(self) -> bool:
        """Whether this receive needs no look at them."""
        return self.by_policy and self.turn % TURNS != 0

    def has_claimed(self, demand: Demand, offer: Offer, claimed: int) -> None:
        """Draw conclusions from a claim.

        One that took all that it could may leave more behind, which the store gives for less than hints do. So may one
        whose hints were stale: somebody else claims by policy, faster than they are forgotten.
        """
        if offer.ids is None:
            most = demand.slots if demand.every_queue else min(demand.slots, sum(demand.queues.values()))
            self.by_policy = claimed >= max(MANY, most)
        else:
            offered = len(offer.ids)
            self.by_policy = claimed >= max(MANY, offered) or claimed < offered // 2


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
