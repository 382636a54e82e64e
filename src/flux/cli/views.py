"""Stored values as the documents that ``--json`` prints: the same names and forms as REST."""

from __future__ import annotations

from typing import Any

import msgspec

from flux.api.views import instant, job_out
from flux.domain.duration import format_instant
from flux.domain.job import Job, LogLine
from flux.engine.ports import QueueSettings, QueueView, WorkerView
from flux.engine.schedules import ScheduleView


def job_document(job: Job, waiting_for: dict[str, Any] | None = None, *, full: bool = True) -> dict[str, Any]:
    """A job just as REST answers it."""
    if waiting_for is not None:
        times = {name: instant(waiting_for[name]) for name in ("until", "since") if name in waiting_for}
        waiting_for = waiting_for | times
    document: dict[str, Any] = msgspec.to_builtins(
        job_out(job, waiting_for, full=full), builtin_types=(msgspec.Raw,)
    )
    return document


def log_document(sequence: int, attempt: int, line: LogLine) -> dict[str, Any]:
    """One line that a handler logged."""
    return {
        "sequence": sequence,
        "attempt": attempt,
        "at": format_instant(line.at),
        "level": line.level,
        "text": line.text,
    }


def queue_document(view: QueueView) -> dict[str, Any]:
    """A queue, its depth as it was sampled."""
    return {
        **settings_document(view.settings),
        "depth": view.depth,
        "oldest": instant(view.oldest),
        "sampled_at": instant(view.sampled_at),
    }


def settings_document(settings: QueueSettings) -> dict[str, Any]:
    """What people set on a queue."""
    return {
        "name": settings.name,
        "paused": settings.paused,
        "paused_at": instant(settings.paused_at),
        "paused_by": settings.paused_by,
        "max_depth": settings.max_depth,
    }


def worker_document(worker: WorkerView) -> dict[str, Any]:
    """A worker."""
    info = worker.info
    return {
        "id": info.id,
        "host": info.host,
        "pid": info.pid,
        "version": info.version,
        "queues": info.queues,
        "types": info.types,
        "slots": info.slots,
        "busy": worker.busy,
        "alive": worker.alive,
        "draining": worker.draining,
        "started_at": format_instant(worker.started_at),
        "seen_at": format_instant(worker.seen_at),
        "lease_until": format_instant(worker.lease_until),
    }


def schedule_document(view: ScheduleView) -> dict[str, Any]:
    """A schedule: the fields that would make it, what it does next and what it did last."""
    schedule = view.schedule
    document: dict[str, Any] = {
        "id": schedule.id,
        **view.request,
        "rule": view.rule,
        "declared": schedule.declared,
        "version": schedule.version,
        "created_at": format_instant(schedule.created_at),
        "updated_at": format_instant(schedule.updated_at),
        "next_job_id": schedule.next_job_id,
        "next_fire_at": instant(schedule.next_fire_at),
        "last_fire_at": instant(schedule.last_fire_at),
        "note": schedule.note,
        "upcoming": [format_instant(at) for at in view.upcoming],
    }
    if view.latest is not None:
        document["latest"] = [
            {"fire_at": format_instant(at), "job_id": job_id, "state": state}
            for at, job_id, state in view.latest
        ]
    return document
