"""What the figures were measured on, and how they are written down."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import Sequence


def describe(python: str = "") -> str:
    """One line: processor, cores, system, Python (this one, unless another version is named), SQLite."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo") as info:
            model = next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {python or platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    )


def percentile(values: Sequence[float], q: float) -> float:
    """The value below which a share ``q`` (0 to 1) of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def spread(values: Sequence[float]) -> str:
    """Median and range, as they are quoted."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"
