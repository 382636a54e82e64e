"""Counting durations in buckets: four to each doubling, so that any percentile is known to within a fifth.

Counts in buckets can be added across jobs, processes and time, which percentiles cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SLOT: Final = 10_000_000
"""Rollups are counted by slots of ten seconds (µs)."""

NONE: Final = -1
"""The bucket of what has no duration: the running time of a job that was cancelled while it waited."""


def slot_of(at: int) -> int:
    """The start of the slot that an instant lies in."""
    return at - at % SLOT


def bucket(us: int) -> int:
    """The bucket of a duration in microseconds: 0 to 3 hold just that many, each later one a quarter of a doubling."""
    if us < 4:
        return max(us, 0)
    # The two bits below the leading one say which quarter of its octave this is.
    shift = us.bit_length() - 3
    return (shift << 2) + (us >> shift)


def bucket_bounds(b: int) -> tuple[int, int]:
    """The durations of a bucket: from the first (inclusive) to the second (exclusive)."""
    if b < 4:
        return b, b + 1
    shift = (b >> 2) - 1
    low = (4 + (b & 3)) << shift
    return low, low + (1 << shift)


def percentile(counts: Mapping[int, int], q: float) -> int | None:
    """The duration (µs) that a part ``q`` (0 to 1) of what was counted stays within; None when nothing was counted.

    Within its bucket a duration is taken to lie evenly; ``NONE`` is not counted.
    """
    known = {b: count for b, count in counts.items() if b >= 0 and count > 0}
    total = sum(known.values())
    if total <= 0:
        return None
    wanted = min(max(q, 0.0), 1.0) * total
    below = 0
    last = 0
    for b in sorted(known):
        count = known[b]
        low, high = bucket_bounds(b)
        if below + count >= wanted:
            return low + int((high - 1 - low) * max(wanted - below, 0.0) / count)
        below += count
        last = high - 1
    return last
