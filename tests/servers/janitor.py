"""Waits until every process of a test run is gone, then kills the servers that they left, and their files.

A process of its own, because the run may end by kill -9. Usage: janitor.py FOLDER
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.servers.processes import is_alive, processes_of, send, until, with_children

ALIVE = "alive"
"""The file in a run's folder that each of its processes holds a shared lock on."""


def main(folder: Path) -> None:
    with (folder / ALIVE).open("rb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        servers = with_children(processes_of(folder))
        send(servers, signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in servers))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
