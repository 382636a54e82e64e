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
        named = [_written(name, slots) for name, slots in self.queues.items()]
        return ",".join((["*"] if self.every else []) + named)

    def serves(self, queue: str) -> bool:
        """Whether a worker with these takes jobs of a queue."""
        return self.every or queue in self.queues


EVERY_QUEUE = QueueShares()


def parse_queues(text: str) -> QueueShares:
    """Read ``default,email:5``; ``*`` and nothing are all queues, ``*,email:2`` all with a bound on one.

    What follows a part's last colon is always the slots, ``*`` for as many as there are: a queue whose own name has a
    colon is written with them (``mail:eu:*``), so that a slip such as ``email:x`` is not taken for a queue's name.
    Raises ValueError with a text for the person who wrote it.
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
        if not colon:
            name, slots = item, "*"
        bound = _bound(name, slots)
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


def _bound(name: str, slots: str) -> int | None:
    if slots == "*":
        return None
    if not slots.removeprefix("-").isdecimal():
        raise ValueError(
            f"gives {name[:50]} {slots[:50]!r} slots, which is no number; a queue whose own name has a colon ends in "
            f'":*" (every slot) or in a number'
        )
    bound = int(slots) if len(slots) < 10 else 10**9
    if bound < 1:
        raise ValueError(f"gives {name} {slots} slots; a queue that is named has at least one")
    return bound


def _written(name: str, slots: int | None) -> str:
    if slots is None:
        return f"{name}:*" if ":" in name else name
    return f"{name}:{slots}"


@lru_cache(maxsize=1024)
def shares_of(text: str) -> QueueShares:
    """What a worker wrote down as its queues. A text that cannot be read, which a worker of another version may have
    written, counts as all queues: it is there to serve something, and nothing may be given up as unserved for it."""
    try:
        return parse_queues(text)
    except ValueError:
        return EVERY_QUEUE


_EXAMPLE = 'write it like "default,email:5" or "*"'
