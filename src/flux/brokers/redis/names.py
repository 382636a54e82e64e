"""How lanes and wishes are written in Redis; the scripts read them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

from flux.engine.ports import Demand, Lane


def lane_name(queue: str, priority: int) -> str:
    """ "<priority>:<queue>", as keys and members of sets have it."""
    return f"{priority}:{queue}"


def lane_of(name: str) -> Lane:
    """The lane of a name; the queue may have colons itself."""
    priority, _, queue = name.partition(":")
    return Lane(queue, int(priority))


def wants_of(demand: Demand) -> str:
    """Which queues' hints are of use to a worker: "*" but for those after a "!", or those named, one a line."""
    if demand.every_queue:
        full = [queue for queue, room in demand.queues.items() if room <= 0]
        return "*" + _lines(f"!{queue}" for queue in full)
    return _lines(queue for queue, room in demand.queues.items() if room > 0)


@lru_cache(maxsize=64)
def kind_of(types: tuple[str, ...]) -> str:
    """Workers that know the same types are of one kind."""
    return blake2b("\n".join(types).encode(), digest_size=6).hexdigest()


def _lines(words: Iterable[str]) -> str:
    text = "\n".join(words)
    return f"\n{text}\n" if text else ""
