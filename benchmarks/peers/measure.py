"""One round of one peer: each measurement on empty servers, with processes of its own that are killed afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import percentile
from benchmarks.peers import cpu
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.servers import Servers

LINE = 8 + 1 + 20 + 1
"""Bytes of one line of the handler: the job's id, a space, the nanoseconds, the end."""
STALLED = 60.0
"""Seconds without a line after which a peer has stopped."""
WARM_UP = 20
"""The first so many pickups do not count."""


class Failed(Exception):
    """A peer did not do what was asked; the text says what, and goes into the table."""


@dataclass(frozen=True)
class Round:
    """How much is measured."""

    jobs: int
    singles: int
    pickups: int


class Runner:
    """Runs the script of one peer."""

    def __init__(self, peer: Peer, command: list[str], servers: Servers, folder: Path) -> None:
        self.peer = peer
        self._command = command
        self._servers = servers
        self._folder = folder

    def measure(self, size: Round) -> dict[str, float]:
        """All the figures of one round. Raises ``Failed``."""
        found = self._on_empty_servers(lambda run: run.drain(max(1, size.jobs // self.peer.share)))
        found |= self._on_empty_servers(lambda run: run.pickup(size.pickups))
        for callers in (1, 32):
            part = max(1, size.singles // self.peer.share) if callers == 1 else size.singles
            found |= self._on_empty_servers(lambda run, c=callers, n=part: run.single(n, c))  # type: ignore[misc]
        return found

    def _on_empty_servers(self, part: Callable[[Session], dict[str, float]]) -> dict[str, float]:
        self._servers.fresh()
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            session = Session(self.peer, self._command, self._servers, Path(folder))
            try:
                session.call("prepare")
                return part(session)
            finally:
                session.kill()


class Session:
    """One measurement: its environment, its processes, its file of lines."""

    def __init__(self, peer: Peer, command: list[str], servers: Servers, folder: Path) -> None:
        self._command = command
        self._servers = servers
        self._lines = folder / "lines"
        self._log = folder / "log"
        self._processes: list[subprocess.Popen[str]] = []
        places = {"postgres": servers.postgres_url, "redis": servers.redis_url, "folder": folder}
        self._environment = os.environ | {
            "BENCH_POSTGRES": servers.postgres_url,
            "BENCH_REDIS": servers.redis_url,
            "BENCH_LINES": str(self._lines),
            "NODE_ENV": "production",
            **{name: value.format(**places) for name, value in peer.environment},
        }

    def drain(self, jobs: int) -> dict[str, float]:
        """Enqueue ``jobs`` in bulk, then let one worker run them all."""
        inserted = float(self.call("fill", jobs))
        self._servers.settle()
        with self._watching() as finished:
            begun = time.monotonic_ns()
            worker = self._start("work")
            families = {"worker": [worker.pid], **self._servers.pids}
            self._wait_for_lines(1)
            before = {name: cpu.seconds(pids) for name, pids in families.items()}
            already = self._lines.stat().st_size // LINE
            self._wait_for_lines(jobs)
            settled = finished()
            used = {name: cpu.seconds(pids) - before[name] for name, pids in families.items()}
        ran = self._ran(jobs)
        first, last = min(ran.values()), max(ran.values())
        return {
            "insert": jobs / inserted,
            "drain": (jobs - 1) / (last - first) * 1e9,
            "drain_settled": jobs / (max(settled, last) - first) * 1e9,
            "drain_with_start": jobs / (max(settled, last) - begun) * 1e9,
            **{f"cpu_{name}": spent * 1e6 / max(1, jobs - already) for name, spent in used.items()},
        }

    def pickup(self, jobs: int) -> dict[str, float]:
        """Enqueue one job after the other to an idle worker; milliseconds from the call to the handler's line."""
        self._start("work")
        begun = self.call("pace", jobs + WARM_UP)
        self._wait_for_lines(jobs + WARM_UP)
        ran = self._ran(jobs + WARM_UP)
        waits = [(ran[f"{number:08d}"] - at) / 1e6 for number, at in enumerate(begun)][WARM_UP:]
        return {"pickup_p50": percentile(waits, 0.5), "pickup_p99": percentile(waits, 0.99)}

    def single(self, jobs: int, callers: int) -> dict[str, float]:
        """Enqueue ``jobs`` one by one from ``callers`` callers of one process."""
        return {f"single_{callers}": jobs / float(self.call("singles", jobs, callers))}

    def call(self, *command: object) -> Any:
        """Run a command of the script to its end and give what it printed."""
        process = self._start(*command, output=subprocess.PIPE)
        try:
            printed, _ = process.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} took more than 15 minutes") from None
        if process.returncode:
            raise Failed(f"{command[0]}: {self._last_words()}")
        return json.loads(printed.splitlines()[-1]) if printed.strip() else None

    def kill(self) -> None:
        """End all that was started, whatever it started in turn."""
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()

    def _start(self, *command: object, output: int | None = None) -> subprocess.Popen[str]:
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                [*self._command, *map(str, command)],
                env=self._environment,
                cwd=self._lines.parent,
                stdin=subprocess.PIPE if command[0] == "watch" else subprocess.DEVNULL,
                stdout=log if output is None else output,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    @contextmanager
    def _watching(self) -> Iterator[Callable[[], int]]:
        # Started before the worker, so that its own start costs the worker nothing; it asks only when told to.
        watcher = self._start("watch", output=subprocess.PIPE)
        assert watcher.stdout is not None
        if "ready" not in watcher.stdout.readline():
            raise Failed(f"watch: {self._last_words()}")

        def finished() -> int:
            try:
                printed, _ = watcher.communicate("go\n", timeout=STALLED)
            except subprocess.TimeoutExpired:
                raise Failed("every job ran, and its store never said so") from None
            if watcher.returncode:
                raise Failed(f"watch: {self._last_words()}")
            return int(printed.splitlines()[-1])

        yield finished

    def _wait_for_lines(self, jobs: int) -> None:
        seen, since = -1, time.monotonic()
        while (size := self._lines.stat().st_size if self._lines.exists() else 0) < jobs * LINE:
            if size > seen:
                seen, since = size, time.monotonic()
            if time.monotonic() - since > STALLED:
                raise Failed(f"stopped after {size // LINE:,} of {jobs:,} jobs: {self._last_words()}")
            if self._processes[-1].poll() not in (None, 0):
                raise Failed(f"work: {self._last_words()}")
            time.sleep(0.02)

    def _ran(self, jobs: int) -> dict[str, int]:
        """When each job ran. Raises ``Failed`` unless each ran once."""
        lines = self._lines.read_text().splitlines()
        ran = {line[:8]: int(line[9:]) for line in lines}
        if len(lines) != len(ran):
            raise Failed(f"ran {len(lines) - len(ran):,} of {jobs:,} jobs twice")
        if set(ran) != {f"{number:08d}" for number in range(jobs)}:
            raise Failed("ran other jobs than were enqueued")
        return ran

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:200] if lines else "nothing was said"
