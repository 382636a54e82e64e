"""The database file is locked, read-only, full, missing, replaced: said clearly, nothing lost, no restart needed."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.torture.house import House, Process, Rest, free_port, until

pytestmark = pytest.mark.torture


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process's transaction that does not end."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def run(*command: object) -> bool:
    """Whether a system command worked."""
    try:
        return (
            subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


def refuses(process: Process, rest: Rest, house: House, reason: str) -> None:
    """Health is down with the reason, new jobs are refused in order, nothing of them is stored, the log says why."""
    until(lambda: rest.status("/health") == 503, "health to be down")
    job = {"type": "append", "payload": {"file": "witness", "line": "refused"}}
    calls: list[tuple[str, str, object]] = [
        ("GET", "/health", None),
        ("GET", "/health/ready", None),
        ("GET", "/health/live", None),
        ("POST", "/api/v1/jobs", job),
        ("POST", "/api/v1/jobs/batch", {"jobs": [job] * 100}),
    ]
    # At the same time, since each may take as long as a lock is waited for.
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(lambda call: rest.call(*call), calls))
    assert [status for status, _, _ in answers] == [503, 503, 200, 503, 503], answers
    health = answers[0][2]
    assert health["status"] == health["checks"]["db"]["status"] == "down"
    assert reason in health["checks"]["db"]["detail"], health
    for _, headers, problem in answers[3:]:
        assert int(headers["retry-after"]) >= 1
        assert headers["content-type"] == "application/problem+json"
        assert reason in problem["detail"], problem
        assert "/data" in problem["detail"], problem
    process.says(reason, "Nothing can be accepted or written until that is over.")


def recovers(process: Process, rest: Rest, told: bool = True) -> None:
    until(lambda: rest.status("/health") == 200, "health to be up again")
    if told:
        process.says("takes writes again.")


class Accepting:
    """Jobs of before, during and after: what was accepted must run, what was refused must not."""

    def __init__(self, house: House, rest: Rest) -> None:
        self.house = house
        self.rest = rest
        self.lines: dict[str, str] = {}

    def accept(self, line: str, **fields: Any) -> str:
        job_id = self.rest.submit("append", {"file": "witness", "line": line}, **fields)
        self.lines[job_id] = line
        return job_id

    def check(self) -> None:
        self.house.all_ended()
        self.house.audit(self.lines, self.lines)
        assert "refused" not in self.house.witnessed()
        assert len(self.house.rows("SELECT id FROM done WHERE type = 'append'")) == len(self.lines)


def test_locked_by_another_process(house: House) -> None:
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    jobs.accept("before")
    later = jobs.accept("later", delay="1500ms")
    slow = rest.submit("sleep", {"seconds": 3})
    until(lambda: rest.job(slow)["state"] == "running", "the job to run")
    with locked(house.file):
        refuses(process, rest, house, "is locked by another process")
        # Reading goes on.
        assert rest.job(later)["state"] == "scheduled"
        process.says("cannot write ", "is locked by another process")
    recovers(process, rest)
    until(lambda: rest.job(slow)["state"] == "succeeded", "the outcome to be stored")
    # Within its lease the worker lost nothing: the job that ended meanwhile ran once.
    assert rest.job(slow)["attempt"] == 1
    jobs.accept("after")
    jobs.check()
    assert len(process.worker_ids) == 1
    assert "Traceback" not in process.log


def test_locked_for_longer_than_the_lease(house: House) -> None:
    """The worker stops what it runs before others may own it, and begins anew when the store is back."""
    process, rest = house.up(FLUX_LEASE="3s")
    jobs = Accepting(house, rest)
    slow = rest.submit("sleep", {"seconds": 8})
    until(lambda: rest.job(slow)["state"] == "running", "the job to run")
    with locked(house.file):
        process.says(
            "has lost its lease (no heartbeat has reached the store for ",
            "): 1 running job stopped here, to be rescued",
            "heartbeat failed",
        )
    recovers(process, rest, told=False)
    until(lambda: rest.job(slow)["state"] == "succeeded", "the job to run again")
    job = rest.job(slow)
    assert [a["outcome"] for a in job["attempts"]] == ["lost", "succeeded"]
    jobs.accept("after")
    jobs.check()
    assert len(process.worker_ids) >= 2
    assert "Traceback" not in process.log


def test_read_only(house: House) -> None:
    """An immutable file is what binds root too."""
    files = [house.file, house.file.with_name("flux.db-wal")]
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    jobs.accept("before")
    later = jobs.accept("later", delay="1s")
    if not run("chattr", "+i", *files):
        pytest.skip("chattr +i is not permitted here")
    try:
        refuses(process, rest, house, "is read-only")
        assert rest.job(later)["id"] == later
    finally:
        run("chattr", "-i", *files)
    recovers(process, rest)
    jobs.accept("after")
    jobs.check()
    assert len(process.worker_ids) == 1
    assert "Traceback" not in process.log

    # Nor does anybody start on such a file.
    process.kill()
    run("chattr", "+i", house.file)
    try:
        late = house.start("scheduler")
        assert late.ended() == 3
    finally:
        run("chattr", "-i", house.file)
    (line,) = late.log.splitlines()
    assert line.startswith(f"Error: The database {house.file} is read-only")


@pytest.fixture
def small(house: House) -> Iterator[Callable[[], None]]:
    """The data on a disk of four megabytes; the answer fills it."""
    if not run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", house.data):
        pytest.skip("tmpfs cannot be mounted here")

    def fill() -> None:
        with contextlib.suppress(OSError), (house.data / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)

    yield fill
    house.close_processes()
    run("umount", "-l", house.data)


def test_disk_full(house: House, small: Callable[[], None]) -> None:
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    for number in range(20):
        jobs.accept(f"before-{number}")
    small()
    # What fits into pages that are there already may still be accepted, and then must not be lost.
    for number in range(400):
        payload = {"file": "witness", "line": f"full-{number}", "x": "y" * 20_000}
        status, headers, answer = rest.call("POST", "/api/v1/jobs", {"type": "append", "payload": payload})
        if status == 503:
            break
        assert status == 201, answer
        jobs.lines[answer["id"]] = f"full-{number}"
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert "cannot grow: the disk is full" in answer["detail"]
    status, _, health = rest.call("GET", "/health")
    assert status == 503
    assert "cannot grow: the disk is full" in health["checks"]["db"]["detail"]
    payload = {"file": "witness", "line": "refused", "x": "y" * 20_000}
    batch = {"jobs": [{"type": "append", "payload": payload}] * 200}
    status, headers, answer = rest.call("POST", "/api/v1/jobs/batch", batch)
    assert status == 503, answer
    assert "retry-after" in headers
    process.says("cannot grow: the disk is full", "Nothing can be accepted or written until that is over.")
    (house.data / "filler").unlink()
    recovers(process, rest)
    jobs.accept("after")
    jobs.check()
    assert len(process.worker_ids) == 1
    assert "Traceback" not in process.log


def test_a_bound_on_file_size(house: House) -> None:
    """What works without any rights: the process may write no further than it has."""
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    jobs.accept("before")
    size = max(file.stat().st_size for file in house.data.iterdir())
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
    refused = 0
    for number in range(50):
        status, _, answer = rest.call(
            "POST",
            "/api/v1/jobs",
            {"type": "append", "payload": {"file": "witness", "line": f"bound-{number}", "x": "y" * 20_000}},
        )
        if status == 201:
            jobs.lines[answer["id"]] = f"bound-{number}"
        else:
            assert status == 503, answer
            refused += 1
    assert refused
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recovers(process, rest)
    jobs.accept("after")
    jobs.check()
    assert process.code is None
    assert "Traceback" not in process.log


@pytest.mark.parametrize("what", ["file", "directory"])
def test_missing_and_back(house: House, what: str) -> None:
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    jobs.accept("before")
    house.all_ended()
    later = jobs.accept("later", delay="1s")
    place, away = (
        (house.file, house.directory / "away") if what == "file" else (house.data, house.directory / "away")
    )
    place.rename(away)
    refuses(process, rest, house, "is missing" if what == "file" else "does not exist")
    # No empty database is put in its place.
    assert not house.file.exists()
    away.rename(place)
    recovers(process, rest)
    assert rest.job(later)["id"] == later
    jobs.accept("after")
    jobs.check()
    assert "Traceback" not in process.log


def test_replaced_by_something_else(house: House) -> None:
    process, rest = house.up(FLUX_LEASE="60s")
    jobs = Accepting(house, rest)
    jobs.accept("before")
    house.all_ended()
    away = house.directory / "away"
    house.data.rename(away)
    house.data.mkdir()
    house.file.write_bytes(b"this is no database, it is a text\n" * 100)
    refuses(process, rest, house, "is not an SQLite database")
    assert house.file.read_bytes().startswith(b"this is no database")
    house.file.unlink()
    with contextlib.closing(sqlite3.connect(house.file)) as other:
        other.execute("CREATE TABLE somebody_elses (x)")
    refuses(process, rest, house, "was replaced by a file without Flux's tables")
    shutil.rmtree(house.data)
    away.rename(house.data)
    recovers(process, rest)
    jobs.accept("after")
    jobs.check()
    assert "Traceback" not in process.log


STARTS: list[tuple[str, Callable[[House], object], str]] = [
    ("worker", lambda house: house.data.rmdir(), "does not exist"),
    ("scheduler", lambda house: house.file.mkdir(), "cannot be opened"),
    ("dev", lambda house: house.file.write_bytes(b"no database at all\n" * 100), "is not an SQLite database"),
]


@pytest.mark.parametrize(("command", "prepare", "sentence"), STARTS, ids=[start[0] for start in STARTS])
def test_a_start_on_what_is_no_database_ends_with_a_line(
    house: House, command: str, prepare: Callable[[House], object], sentence: str
) -> None:
    prepare(house)
    flags = ["--no-reload"] if command == "dev" else []
    process = house.start(command, *flags, API_PORT=free_port(), DASHBOARD_PORT=free_port())
    assert process.ended() == 3, process.log
    (line,) = process.log.splitlines()
    assert line.startswith("Error: The d")
    assert sentence in line


def test_a_locked_file_at_the_start_is_waited_for(house: House) -> None:
    """As long as a lock is waited for; then the line says what it was."""
    house.submit("echo")
    with locked(house.file):
        worker = house.start("worker")
        assert worker.ended() == 3
        assert "is locked by another process" in worker.log
        assert "Traceback" not in worker.log
    worker = house.worker()
    house.all_ended()
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
