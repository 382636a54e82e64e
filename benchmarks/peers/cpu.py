"""How much processor a family of processes has used: the cost of a job, on a machine that others use too."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.servers.processes import with_children

_TICKS = os.sysconf("SC_CLK_TCK")


def seconds(pids: list[int]) -> float:
    """Of ``pids`` with all their children since they started, those that have ended included; Linux only, else 0."""
    family = with_children(pids)
    total = 0
    for pid in family:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # gone meanwhile: its parent has its time
        # utime, stime, and those of the children that have ended
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS
