"""Hints that are done with: claimed or stale ones are forgotten, others given back. Gathered, to be sent at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec


class Receipt(msgspec.Struct, frozen=True):
    """By what a hint that was given out is known: its lane, its entry there, and whether it was given back before.

    One that was handed over with a wake-up has no entry, since it was never in its lane; it says instead which kinds of
    workers have ``tried`` to claim it in vain.
    """

    lane: str
    entry: str = ""
    again: bool = False
    tried: str = ""


class Settlements:
    """What is to be said to Redis about hints that this process holds."""

    def __init__(self) -> None:
        self._forget: dict[str, list[str]] = {}
        self._back: dict[str, list[str]] = {}
        self._kinds: dict[str, str] = {}
        self._homeless: dict[tuple[str, str], list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._forget or self._back or self._homeless)

    @property
    def homeless(self) -> bool:
        """Whether somebody may be waiting for what goes back, and nobody else knows of it."""
        return bool(self._homeless)

    def settle(
        self, ids: Iterable[str], receipts: Iterable[Receipt], claimed: Collection[str], kind: str
    ) -> bool:
        """Some hints were offered to a worker of this kind, and these claimed. True when any of the others goes back.

        What was not claimed may be for somebody else, who knows its type or has room: it goes back once. The second
        time it is taken for stale, and when it is not, the dispatcher will give it again.
        """
        taken = frozenset(claimed)
        left = False
        for id, receipt in zip(ids, receipts, strict=True):
            claimed_it = id in taken
            left = left or not claimed_it
            if claimed_it or receipt.again:
                if receipt.entry:
                    self._forget.setdefault(receipt.lane, []).append(receipt.entry)
            else:
                self._give_back(id, receipt, kind)
        return left

    def give_back(self, ids: Iterable[str], receipts: Iterable[Receipt]) -> None:
        """Some hints were not offered to anybody."""
        for id, receipt in zip(ids, receipts, strict=True):
            self._give_back(id, receipt, "")

    def _give_back(self, id: str, receipt: Receipt, kind: str) -> None:
        lane = receipt.lane
        if receipt.entry:
            self._back.setdefault(lane, []).append(receipt.entry)
            # Where several kinds share a process, the leader tells those again who were not told for that.
            self._kinds[lane] = _with(self._kinds.get(lane, ""), kind)
        else:
            self._homeless.setdefault((lane, _with(receipt.tried, kind)), []).append(id)

    def take(self) -> list[str]:
        """Everything so far, as the scripts want it: lane, entries to forget, entries to give back, kinds."""
        forget, self._forget = self._forget, {}
        back, self._back = self._back, {}
        kinds, self._kinds = self._kinds, {}
        words: list[str] = []
        for lane in forget | back:
            words += (lane, " ".join(forget.get(lane, ())), " ".join(back.get(lane, ())), kinds.get(lane, ""))
        return words

    def take_homeless(self) -> list[tuple[str, str, str]]:
        """What goes back and has no entry, to be published: kinds that tried, lane, job ids."""
        homeless, self._homeless = self._homeless, {}
        return [(tried, lane, " ".join(ids)) for (lane, tried), ids in homeless.items()]


def _with(kinds: str, kind: str) -> str:
    return kinds if kind in kinds else f"{kinds},{kind}".lstrip(",")
