"""The checks of `flux doctor`. Each gives one line; ``wrong`` is what keeps jobs from running or being kept."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from flux.cli.session import read_settings
from flux.cli.terminal import show_age
from flux.config import Settings, SettingsError, build_engine
from flux.domain.duration import MINUTE, SECOND, format_duration
from flux.domain.errors import FluxError
from flux.domain.job import JobState
from flux.domain.schema import Phase
from flux.domain.size import format_size
from flux.domain.words import plural
from flux.engine.engine import Engine
from flux.engine.ports import JobFilter, QueueView, StoreHealth, WorkerView

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

LITTLE_SPACE = 200 << 20
LONG_WAIT = MINUTE
SAMPLE_STALE = 90 * SECOND
MOST_LOOKED_AT = 500
"""Of the newest available jobs of a queue; of more the last sample knows the oldest, when there is one."""
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs")


class Check(msgspec.Struct, frozen=True):
    """One look at one thing. ``note`` is worth knowing and harms nothing now."""

    name: str
    state: Literal["ok", "note", "wrong"]
    text: str


def check_here() -> tuple[list[Check], Settings | None]:
    """This machine and the settings; None when they cannot be used."""
    sqlite = sqlite3.sqlite_version
    old = sqlite3.sqlite_version_info < OLDEST_SQLITE
    unsafe = sqlite3.threadsafety == 0
    checks = [
        Check(
            "python",
            "ok",
            f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        ),
        Check(
            "sqlite",
            "wrong" if old or unsafe else "ok",
            f"{sqlite} is older than {'.'.join(map(str, OLDEST_SQLITE))}"
            if old
            else f"{sqlite} was built without threads"
            if unsafe
            else f"{sqlite}, {('', 'one thread a connection', '', 'serialized')[sqlite3.threadsafety]}",
        ),
        _extras(),
    ]
    try:
        settings = read_settings()
    except SettingsError as error:
        return [*checks, Check("settings", "wrong", str(error))], None
    return [
        *checks,
        Check("settings", "ok", f"{settings.database_shown}, lease {format_duration(settings.lease)}"),
    ], settings


def _extras() -> Check:
    missing = [
        name for name in ("uvicorn", "jinja2", "uvloop", "watchfiles", "rich") if find_spec(name) is None
    ]
    if missing:
        return Check("extras", "note", f"not installed: {', '.join(missing)} (pip install 'flux[all]')")
    return Check("extras", "ok", "server and terminal extras are installed")


def check_file(file: Path) -> list[Check]:
    """Where the database is."""
    if not file.is_file():
        return [
            Check(
                "database",
                "wrong",
                f"there is no {file.absolute()}; flux dev makes it, DATABASE_URL names another",
            )
        ]
    return [_disk(file), _file_system(file)]


async def check_store(settings: Settings, file: Path | None) -> list[Check]:
    """The database, its schema, and who works on it."""
    checks: list[Check] = []
    engine = build_engine(settings, migrate=False)
    try:
        steps = await engine.store.schema()
        schema = _schema(steps)
        checks.append(schema)
        if schema.state == "wrong":
            return checks
        await engine.open()
    except FluxError as error:
        return [*checks, Check("database", "wrong", str(error))]
    try:
        return [*checks, *await _of_engine(engine, file)]
    except FluxError as error:
        return [*checks, Check("database", "wrong", str(error))]
    finally:
        await engine.close()


def _schema(steps: list[tuple[str, bool]]) -> Check:
    """What the schema lacks; whether this program can work with it is seen when it opens it."""
    missing = [name for name, applied in steps if not applied]
    if not missing:
        return Check("schema", "ok", f"{len(steps)} of {len(steps)} migrations applied")
    if all(name.endswith(f".{Phase.POST}") for name in missing):
        text = f"{', '.join(missing)} can run once no older Flux is left: flux migrate up --phase post"
        return Check("schema", "note", text)
    return Check("schema", "wrong", f"lacks {', '.join(missing)}; flux migrate up brings it up to date")


async def _of_engine(engine: Engine, file: Path | None) -> list[Check]:
    health = await engine.store.health()
    size = "" if health.size is None else f" {format_size(health.size)}."
    checks = [
        Check("database", "ok" if health.ok else "wrong", health.detail + size),
        _durability_of_server(health) if file is None else _durability(file, health.durable),
    ]
    broker = await engine.broker.health()
    well = (
        "the database carries the hints itself"
        if engine.broker.name == "store"
        else f"{engine.broker.name} carries the hints"
    )
    # Without it jobs run all the same, a little later.
    checks.append(Check("broker", "note" if broker else "ok", broker or well))
    now = await engine.store.now()
    workers = await engine.workers.list()
    queues = await engine.queues.list()
    checks += [_clock(engine, workers, now), _workers(workers), _scheduler(queues, now)]
    return [*checks, await _waiting(engine, queues, workers, now)]


def _durability_of_server(health: StoreHealth) -> Check:
    if not health.durable:
        return Check(
            "durability", "wrong", "the server may lose accepted jobs in a crash (synchronous_commit, fsync)"
        )
    synced = "every commit is synced to the server's disk"
    if health.replicated:
        return Check("durability", "ok", f"{synced} and to a synchronous standby")
    return Check(
        "durability",
        "ok",
        f"{synced}; without a synchronous standby a fail-over may lose the last ones",
    )


def _durability(file: Path, durable: bool) -> Check:
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check("durability", "note", f"could not be read: {error}")
    if mode != "wal":
        return Check("durability", "wrong", f"journal mode {mode} instead of wal: another program changed it")
    if not durable:
        return Check("durability", "wrong", "accepted jobs are not synced to the disk")
    return Check("durability", "ok", "wal, every commit synced to the disk (synchronous=full)")


def _disk(file: Path) -> Check:
    free = shutil.disk_usage(file.parent).free
    state: Literal["ok", "wrong"] = (
        "ok" if free > LITTLE_SPACE and os.access(file.parent, os.W_OK) else "wrong"
    )
    if not os.access(file.parent, os.W_OK):
        return Check(
            "disk", state, f"{file.parent.absolute()} is not writable, and SQLite keeps its log there"
        )
    return Check("disk", state, f"{format_size(free)} free at {file.parent.absolute()}")


def _file_system(file: Path) -> Check:
    """WAL needs memory that all processes share: over a network the file is damaged sooner or later."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return Check("file system", "note", "not known on this system; it must not be a network's")
    path = str(file.absolute())
    best, kind = "", "unknown"
    for line in mounts:
        _, point, found, *_ = line.split(" ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found
    if kind in _NETWORK:
        return Check(
            "file system", "wrong", f"{kind} is a network's, where SQLite cannot keep the file whole"
        )
    return Check("file system", "ok", f"{kind} at {best or '/'}")


def _clock(engine: Engine, workers: list[WorkerView], now: int) -> Check:
    apart = abs(engine.clock.now() - now)
    if apart > SECOND:
        return Check("clock", "wrong", f"this machine and the store are {format_duration(apart)} apart")
    ahead = max((worker.seen_at - now for worker in workers), default=0)
    if ahead > SECOND:
        return Check(
            "clock",
            "wrong",
            f"a worker was seen {format_duration(ahead)} in the future: the clock was set back",
        )
    return Check("clock", "ok", "agrees with the store's")


def _workers(workers: list[WorkerView]) -> Check:
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        return Check("workers", "note", "none is alive; flux worker starts one")
    slots = sum(worker.info.slots for worker in alive)
    busy = sum(worker.busy for worker in alive)
    return Check("workers", "ok", f"{len(alive)} alive, {busy} of {plural(slots, 'slot')} busy")


def _scheduler(queues: list[QueueView], now: int) -> Check:
    """The leader samples every queue each second, and at rest every half minute."""
    sampled = max((view.sampled_at or 0 for view in queues), default=0)
    if not queues:
        return Check("scheduler", "note", "not known: there is no queue yet")
    if now - sampled > SAMPLE_STALE:
        return Check(
            "scheduler", "note", "none has worked for 90 seconds: delayed jobs and retries wait for one"
        )
    return Check("scheduler", "ok", f"at work {show_age(sampled, now)}")


async def _waiting(engine: Engine, queues: list[QueueView], workers: list[WorkerView], now: int) -> Check:
    """Looks at the jobs: samples are missing when no scheduler runs, which is when it matters."""
    since, queue, more = now, None, ""
    for view in queues:
        if view.settings.paused:
            continue
        asked = JobFilter(states=(JobState.AVAILABLE,), queue=view.settings.name)
        page = await engine.jobs.list(asked, MOST_LOOKED_AT, None)
        oldest = min((max(job.run_at, job.created_at) for job in page.jobs), default=None)
        if oldest is None:
            continue
        if page.next_cursor is not None and view.oldest is not None:
            oldest = min(oldest, view.oldest)
        if queue is None or oldest < since:
            since, queue = oldest, view.settings.name
            more = "at least " if page.next_cursor is not None else ""
    if queue is None:
        return Check("oldest job", "ok", "none waits")
    waits = max(now - since, 0)
    text = f"waits for {more}{format_duration(waits - waits % SECOND)} in queue {queue}"
    if not any(worker.alive for worker in workers):
        return Check("oldest job", "wrong", f"{text}, and no worker is alive; flux worker starts one")
    return Check("oldest job", "ok" if waits <= LONG_WAIT else "note", text)
