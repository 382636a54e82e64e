"""Which queues a worker serves, and how many of its slots each may take."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from flux.domain.request import queue_name


class QueueShares(msgspec.Struct, frozen=True):
    """``queues``: the most slots of each named queue (None: all there are). ``every``: the queues not named too."""

    queues: dict[str, int | None] = {}
    every: bool = True

    def __str__(self) -> str:
        """The text that ``parse_queues`` reads."""
        named = [name if slots is None else f"{name}:{slots}" for name, slots in self.queues.items()]
        return ",".join((["*"] if self.every else []) + named)

    def serves(self, queue: str) -> bool:
        """Whether a worker with these takes jobs of a queue."""
        return self.every or queue in self.queues


EVERY_QUEUE = QueueShares()


def parse_queues(text: str) -> QueueShares:
    """Read ``default,email:5``; ``*`` and nothing are all queues, ``*,email:2`` all with a bound on one.

    A queue's name may have colons itself; what follows the last one is its slots when that is a number. Raises
    ValueError with a text for the person who wrote it.
    """
    if not text.strip():
        return EVERY_QUEUE
    queues: dict[str, int | None] = {}
    every = False
    for part in text.split(","):
        item = part.strip()
        if not item:
            raise ValueError(f"has an empty name between its commas; {_EXAMPLE}")
        if item == "*":
            every = True
            continue
        name, colon, slots = item.rpartition(":")
        bound: int | None = None
        if colon and slots.removeprefix("-").isdecimal():
            bound = int(slots) if len(slots) < 10 else 10**9
            if bound < 1:
                raise ValueError(f"gives {name} {slots} slots; a queue that is named has at least one")
        else:
            name = item
        if name == "*":
            raise ValueError(
                f'bounds "*", which stands for all other queues; bound one by its name; {_EXAMPLE}'
            )
        if not queue_name(name):
            raise ValueError(
                f"names {name[:50]!r}, which is no queue's name: it begins with a letter or digit, goes on with "
                "letters, digits and _ . : / -, at most 100"
            )
        if name in queues:
            raise ValueError(f"names {name} twice")
        queues[name] = bound
    return QueueShares(queues, every)


@lru_cache(maxsize=1024)
def shares_of(text: str) -> QueueShares:
    """What a worker wrote down as its queues. A text that cannot be read, which a worker of another version may have
    written, counts as all queues: it is there to serve something, and nothing may be given up as unserved for it."""
    try:
        return parse_queues(text)
    except ValueError:
        return EVERY_QUEUE


_EXAMPLE = 'write it like "default,email:5" or "*"'
