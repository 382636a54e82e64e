"""Which processes belong to a folder: those whose command line names it.

That holds across the death of whoever started them, and cannot take a stranger's process for ours, as the number in a
stale pid file can.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 60.0
"""Seconds that anything here may take before it counts as failed."""
_PAUSE = 0.01
_PROC = Path("/proc/self/stat").exists()
_SERVERS = ("postgres", "initdb", "pg_basebackup", "redis-server", "valkey-server", "pgbouncer")
"""Whoever looks at a server's log names its folder too, and is none of our business."""


def processes_of(folder: Path) -> list[int]:
    """The ids of the running servers whose command line names ``folder`` or something in it, without their children."""
    name = str(folder.resolve())
    found = []
    for pid, words in _command_lines():
        if Path(words[0]).name in _SERVERS and any(word == name or f"{name}/" in word for word in words):
            found.append(pid)
    # A child that has just been forked still carries its parent's command line.
    return [pid for pid in found if _parent(pid) not in found]


def with_children(pids: list[int]) -> list[int]:
    """``pids``, and the processes that they started and these started (Linux; elsewhere ``pids`` alone)."""
    parents = {pid: parent for pid in _numbers() if (parent := _parent(pid)) is not None}
    family = list(pids)
    for pid in family:  # grows as it goes
        family += [child for child, parent in parents.items() if parent == pid and child not in family]
    return family


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to all of them that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie that its parent has not asked about does not."""
    stat = Path(f"/proc/{pid}/stat")
    if _PROC:
        try:
            return stat.read_text("ascii", "replace").rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Look again and again until it holds; False when it did not within ``patience`` seconds."""
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE)
    return True


def _command_lines() -> list[tuple[int, list[str]]]:
    if not _PROC:
        listed = subprocess.run(
            ["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        )
        lines = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
        return [(int(line[0]), line[1].split()) for line in lines if len(line) == 2]
    found = []
    for pid in _numbers():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue  # gone meanwhile, or not ours to ask
        found.append((pid, words))
    return found


def _numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if _PROC else []


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
