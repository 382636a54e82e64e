"""A house of real processes on one real SQLite file: what starts them, hurts them, and asks what became of the jobs.

Nothing waits for luck: `until` looks again and again until a condition holds, and says what it waited for, with the
processes' own logs, when it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from flux.config import build_engine, load_settings
from flux.domain.job import FINAL, Job
from flux.domain.request import JobRequest
from flux.engine.engine import Engine

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
FLUX = Path(sys.executable).parent / "flux"
PATIENCE = 60.0
"""Seconds for anything to come true: other tests have the machine too."""
LEASE = 6.0
"""Seconds of lease in these tests, unless a test says otherwise: a busy machine may starve a healthy worker of two."""
AGAIN = LEASE + 5.0
"""Seconds within which what ran runs again when its worker, or the leader, is gone."""
TAIL = 40
"""Lines of each log that a failure shows."""


class Process:
    """One `flux …` process and what it has logged."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log_file = log
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    @property
    def tail(self) -> str:
        return "\n".join(line[:400] for line in self.log.splitlines()[-TAIL:])

    @property
    def code(self) -> int | None:
        return self._popen.poll()

    @property
    def worker_ids(self) -> list[str]:
        """The ids under which it has taken jobs, in order."""
        words = [line.split() for line in self.log.splitlines() if " takes jobs: " in line]
        return [line[line.index("worker") + 1] for line in words]

    def send(self, number: int) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and reap it."""
        self._popen.kill()
        self._popen.wait()

    def ended(self, within: float = PATIENCE) -> int:
        """The exit code; fails when it does not end in time."""
        try:
            return self._popen.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {within} s:\n{self.tail}") from None

    def says(self, *sentences: str, within: float = PATIENCE) -> None:
        """Wait until its log has every one of these."""
        until(
            lambda: all(sentence in self.log for sentence in sentences) or self.code is not None,
            lambda: f"{self.name} to say {[s for s in sentences if s not in self.log]}:\n{self.tail}",
            within,
        )
        missing = [sentence for sentence in sentences if sentence not in self.log]
        assert not missing, f"{self.name} ended with {self.code} and never said {missing}:\n{self.tail}"

    def children(self) -> list[int]:
        """Processes that it or its children started and that still run."""
        found: list[int] = []
        parents = {self.pid}
        table = list(_processes())
        while True:
            new = [pid for pid, parent in table if parent in parents and pid not in parents]
            if not new:
                return found
            found += new
            parents.update(new)


class House:
    """A directory with a database, a folder for `append`, and processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.demo = directory / "demo"
        for folder in (self.data, self.demo):
            folder.mkdir()
        self.processes: list[Process] = []
        self.settings: dict[str, str] = {}
        self.own_settings: dict[str, str] = {}
        """What the engine of this process has instead."""
        self._runner = asyncio.Runner()
        self._engine: Engine | None = None

    # --- processes ---

    @property
    def file(self) -> Path:
        return self.data / "flux.db"

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.file}"

    def environment(self, **settings: object) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("FLUX_")},
            "DATABASE_URL": self.database_url,
            "FLUX_DEMO_DIR": str(self.demo),
            "FLUX_LEASE": f"{LEASE}s",
            "FLUX_LOG_FORMAT": "text",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
            **{name: str(value) for name, value in settings.items()},
        }

    def start(self, *arguments: object, **settings: object) -> Process:
        """`flux …`, with these settings besides the usual ones."""
        name = f"{len(self.processes)}-{arguments[0]}"
        log = self.directory / f"{name}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [FLUX, *map(str, arguments)],
                cwd=self.directory,
                env=self.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        process = Process(name, popen, log)
        self.processes.append(process)
        return process

    def worker(self, *arguments: object, **settings: object) -> Process:
        """A worker that takes jobs."""
        process = self.start("worker", *arguments, **settings)
        process.says(" takes jobs: ")
        return process

    def scheduler(self, **settings: object) -> Process:
        """A scheduler; whether it leads is another question."""
        return self.start("scheduler", **settings)

    def leader(self, **settings: object) -> Process:
        """A scheduler that leads."""
        process = self.scheduler(**settings)
        process.says("this scheduler leads")
        return process

    def api(self, port: int | None = None, **settings: object) -> tuple[Process, Rest]:
        """An API that listens."""
        port = port or free_port()
        process = self.start("api", "--port", port, **settings)
        process.says("listening on")
        return process, Rest(port)

    def up(self, *arguments: object, command: str = "up", **settings: object) -> tuple[Process, Rest]:
        """Everything in one process, ready."""
        port = free_port()
        process = self.start(
            command, *arguments, "--api-port", port, "--dashboard-port", free_port(), **settings
        )
        process.says(" takes jobs: ", f":{port}")
        until(lambda: Rest(port).status("/health/live") == 200, "the API to answer")
        return process, Rest(port)

    def close_processes(self) -> None:
        """Kill all that run, and what they started."""
        for process in self.processes:
            children = process.children() if process.code is None else []
            if process.code is None:
                process.send(signal.SIGCONT)
                process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        self.close_processes()
        if self._engine is not None:
            with contextlib.suppress(Exception):
                self._runner.run(self._engine.close())
        self._runner.close()

    def logs(self) -> str:
        """The end of every log, for whoever reads a failure."""
        return "\n".join(f"--- {process.name} ({process.code})\n{process.tail}" for process in self.processes)

    # --- jobs, through an engine of this process ---

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = build_engine(load_settings(self.environment(**self.own_settings)))
            self._runner.run(self._engine.open())
        return self._engine

    def run(self, work: Callable[[Engine], Any]) -> Any:
        engine = self.engine
        return self._runner.run(work(engine))

    def submit(self, type: str, payload: object = None, **fields: Any) -> str:
        """Accept one job; its id."""
        return self.submit_many([request(type, payload, **fields)])[0]

    def submit_many(self, requests: list[JobRequest]) -> list[str]:
        return [job.id for job in self.run(lambda engine: engine.jobs.submit_many(requests))]

    def job(self, job_id: str) -> Job:
        found: Job = self.run(lambda engine: engine.jobs.get(job_id))
        return found

    def state(self, job_id: str) -> str:
        return str(self.job(job_id).state)

    def running(self, job_id: str, within: float = PATIENCE) -> Job:
        self.until(lambda: self.state(job_id) == "running", f"job {job_id} to run", within)
        return self.job(job_id)

    def ended(self, job_id: str, within: float = PATIENCE) -> Job:
        self.until(lambda: self.job(job_id).state in FINAL, f"job {job_id} to end", within)
        return self.job(job_id)

    def all_ended(self, within: float = PATIENCE) -> None:
        self.until(
            lambda: not self.rows("SELECT 1 FROM live LIMIT 1"),
            lambda: (
                f"all jobs to end; left are {self.rows('SELECT state, type, count(*) FROM live GROUP BY 1, 2')}"
            ),
            within,
        )

    def until(
        self, condition: Callable[[], object], what: str | Callable[[], str], within: float = PATIENCE
    ) -> None:
        until(condition, lambda: f"{what if isinstance(what, str) else what()}\n{self.logs()}", within)

    # --- what the store and the witness say, without Flux ---

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the file itself."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=PATIENCE)
        ) as connection:
            return connection.execute(sql, values).fetchall()

    def counted(self, state: str) -> Counter[str]:
        """How often the event log says that each job came to a state."""
        return Counter(
            item[0]
            for (items,) in self.rows("SELECT items FROM events WHERE subject = 'job' AND state = ?", state)
            for item in json.loads(items)
        )

    def witnessed(self, file: str = "witness") -> Counter[str]:
        """How often `append` ran for each line."""
        path = self.demo / file
        return Counter(path.read_text().splitlines() if path.exists() else [])

    def check_database(self) -> None:
        """The file is in order."""
        assert self.rows("PRAGMA integrity_check") == [("ok",)]

    def audit(self, accepted: Iterable[str], lines: dict[str, str] | None = None) -> None:
        """Every accepted job has ended, and succeeded exactly once. ``lines``: job -> its line of the witness."""
        wanted = set(accepted)
        done = dict(self.rows("SELECT id, state FROM done"))
        live = {id for (id,) in self.rows("SELECT id FROM live")}
        assert not wanted & live, f"not ended: {wanted & live}"
        assert wanted <= set(done), f"lost: {wanted - set(done)}"
        assert {done[id] for id in wanted} == {"succeeded"}, Counter(done[id] for id in wanted)
        counted = self.counted("succeeded")
        assert {counted[id] for id in wanted} == {1}, {id: n for id, n in counted.items() if n != 1}
        self.check_database()
        if lines:
            ran = self.witnessed()
            attempts = dict(self.rows("SELECT id, attempt FROM done"))
            released = dict(
                self.rows("SELECT job_id, count(*) FROM attempts WHERE outcome = 'released' GROUP BY job_id")
            )
            for id, line in lines.items():
                most = attempts[id] + released.get(id, 0)
                assert 1 <= ran[line] <= most, f"{id} ran {ran[line]} times in {most} attempts"


class Rest:
    """The REST API at a port."""

    def __init__(self, port: int) -> None:
        self.port = port

    def call(
        self, method: str, path: str, body: object = None, timeout: float = PATIENCE
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers (by their names in small letters), document. Raises ``OSError`` where nobody answers."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data,
            {"content-type": "application/json", "connection": "close"},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=timeout) as answer:
                return answer.status, _headers(answer.headers), json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _headers(error.headers), json.loads(error.read() or b"null")

    def status(self, path: str) -> int:
        """The status of a GET; 0 where nobody answers."""
        try:
            return self.call("GET", path)[0]
        except OSError:
            return 0

    def submit(self, type: str, payload: object = None, **fields: object) -> str:
        status, _, job = self.call("POST", "/api/v1/jobs", {"type": type, "payload": payload or {}, **fields})
        assert status == 201, (status, job)
        return str(job["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        status, _, job = self.call("GET", f"/api/v1/jobs/{job_id}")
        assert status == 200, (status, job)
        assert isinstance(job, dict)
        return job


def _headers(message: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in message.items()}


def request(type: str, payload: object = None, **fields: Any) -> JobRequest:
    raw = msgspec.Raw(msgspec.json.encode({} if payload is None else payload))
    return JobRequest(type=type, payload=raw, **fields)


def until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    within: float = PATIENCE,
    pause: float = 0.02,
) -> None:
    """Look until it holds; fail with what was waited for after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(
                f"waited {within:g} s in vain for {what if isinstance(what, str) else what()}"
            )
        time.sleep(pause)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def pending(pid: int, number: int) -> bool:
    """Whether a signal that was sent to a process has not been taken yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [
        int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigPnd", "ShdPnd"))
    ]
    return any(mask >> (number - 1) & 1 for mask in masks)


def _processes() -> Iterable[tuple[int, int]]:
    """(process, its parent) of all that run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                rest = (entry / "stat").read_text().rpartition(")")[2].split()
                if rest[0] not in "ZX":
                    yield int(entry.name), int(rest[1])
