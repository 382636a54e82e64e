"""A worker at rest: memory and processor; and how long ``flux --help`` takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import harness

FLUX = Path(sys.executable).with_name("flux")

SETTLE = 10.0
"""Seconds until a worker is taken to be at rest: on a busy machine its start alone takes several."""


def main(seconds: float = 20.0) -> dict[str, float]:
    """``memory`` (MB), ``cpu`` (% of a core) of ``flux worker`` at rest; ``help`` (ms, median of 10)."""
    with harness.database() as path:
        environment = os.environ | {"DATABASE_URL": f"sqlite:///{path}"}
        worker = subprocess.Popen([str(FLUX), "worker"], env=environment, stderr=subprocess.DEVNULL)
        try:
            time.sleep(SETTLE)
            before = _cpu(worker.pid)
            time.sleep(seconds)
            cpu = (_cpu(worker.pid) - before) / seconds * 100
            memory = _resident(worker.pid)
        finally:
            worker.terminate()
            worker.wait()
    return {"memory": memory, "cpu": cpu, "help": _help()}


def _cpu(pid: int) -> float:
    # Nanoseconds by thread: the clock ticks of /proc/PID/stat are too coarse, and timers wake on them.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _help() -> float:
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        subprocess.run([str(FLUX), "--help"], capture_output=True, check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name} {value:.2f}")
