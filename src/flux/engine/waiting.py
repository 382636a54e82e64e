"""Why a job that waits has not run yet, in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND, format_instant
from flux.domain.job import Job, JobState
from flux.domain.shares import shares_of
from flux.domain.words import agree, plural
from flux.engine.ports import QueueView, WorkerView

_SOON: Final = 2 * SECOND


def waiting_for(
    job: Job, queue: QueueView | None, workers: Sequence[WorkerView], now: int
) -> dict[str, Any] | None:
    """What the job waits for; None when it does not wait.

    ``kind`` is one of time, slot, paused, limit, needs, signal, no_worker and ``text`` the sentence; what else there is
    names what is waited for.
    """
    match job.state:
        case JobState.SCHEDULED | JobState.RETRYING:
            return _time(job, queue, now)
        case JobState.BLOCKED:
            text = "Waits for steps of its workflow that have not ended"
            return {"kind": "needs", "text": text, "workflow_id": job.workflow_id}
        case JobState.AVAILABLE:
            return _paused(queue, now) or _worker(job, workers, now) or _slot(job, queue, workers, now)
        case _:
            return None


# --- time ---------------------------------------------------------------------------------------------------------


def _time(job: Job, queue: QueueView | None, now: int) -> dict[str, Any]:
    if job.state is JobState.RETRYING:
        what = f"Attempt {job.attempt} of {job.attempt_limit} failed; waits for the next one"
    elif job.options.fire_at is not None:
        what = "Waits for the time of its schedule"
    else:
        what = "Waits for its start time"
    left = job.run_at - now
    if left > 0:
        text = f"{what}, in {spoken(left)} ({clock_time(job.run_at)})"
    else:
        text = f"{what}, due since {spoken(-left)}: the scheduler is about to release it"
        if -left > 10 * SECOND:
            text = f"{what}, due since {spoken(-left)}: no scheduler seems to run"
    if queue is not None and queue.settings.paused:
        text += f"; its queue {queue.settings.name} is paused"
    return {"kind": "time", "text": text, "until": job.run_at}


# --- pause --------------------------------------------------------------------------------------------------------


def _paused(queue: QueueView | None, now: int) -> dict[str, Any] | None:
    if queue is None or not queue.settings.paused:
        return None
    settings = queue.settings
    text = f"Queue {settings.name} is paused"
    if settings.paused_by:
        text += f" by {settings.paused_by}"
    if settings.paused_at is not None:
        text += f" since {clock_time(settings.paused_at)}, {spoken(now - settings.paused_at)} ago"
    return {
        "kind": "paused",
        "text": text,
        "queue": settings.name,
        "by": settings.paused_by,
        "since": settings.paused_at,
    }


# --- workers ------------------------------------------------------------------------------------------------------


def _worker(job: Job, workers: Sequence[WorkerView], now: int) -> dict[str, Any] | None:
    """Nobody is there who could take it."""
    alive = [worker for worker in workers if worker.alive]
    serving = [worker for worker in alive if shares_of(worker.info.queues).serves(job.queue)]
    fit = [worker for worker in serving if job.type in worker.info.types]
    if any(not worker.draining for worker in fit):
        return None
    if not alive:
        text = "No worker is alive"
        last = max((worker.seen_at for worker in workers), default=None)
        if last is not None:
            text += f"; the last one was seen {spoken(now - last)} ago"
    elif not serving:
        text = f"No live worker serves the queue {job.queue!r}"
    elif not fit:
        text = f"No live worker serves the type {job.type!r} on queue {job.queue!r}"
    else:
        leave = agree(len(fit), "is draining and takes", "are draining and take")
        text = f"{plural(len(fit), 'worker')} for the type {job.type!r} {leave} no new jobs"
    return {"kind": "no_worker", "text": text, "queue": job.queue, "type": job.type}


def _slot(job: Job, queue: QueueView | None, workers: Sequence[WorkerView], now: int) -> dict[str, Any]:
    fit = [
        worker
        for worker in workers
        if worker.alive
        and not worker.draining
        and shares_of(worker.info.queues).serves(job.queue)
        and job.type in worker.info.types
    ]
    slots = sum(worker.info.slots for worker in fit)
    busy = sum(min(worker.busy, worker.info.slots) for worker in fit)
    ahead = max(queue.depth.get("available", 0) - 1, 0) if queue is not None else 0
    found = {"kind": "slot", "queue": job.queue, "slots": slots, "busy": busy, "waiting": ahead}
    serve = f"{plural(len(fit), 'worker')} {agree(len(fit), 'serves', 'serve')} queue {job.queue}"
    if busy < slots:
        text = (
            f"Is about to start: {serve}, {busy} of {plural(slots, 'slot')} {agree(busy, 'is', 'are')} busy"
        )
        waited = now - max(job.run_at, job.created_at)
        if waited > _SOON:
            text = (
                f"Waits for its turn since {spoken(waited)}: {serve}, {busy} of {plural(slots, 'slot')} "
                f"{agree(busy, 'is', 'are')} busy"
            )
    else:
        every = f"all {slots} slots are busy" if slots != 1 else "its only slot is busy"
        text = f"Waits for a free slot: {serve}, {every}"
    if ahead:
        text += f"; about {plural(ahead, 'other job')} {agree(ahead, 'is', 'are')} waiting in the queue"
        # Not all of them are before it: higher priorities are, and older ones of its own.
    return found | {"text": text}


# --- words --------------------------------------------------------------------------------------------------------


def spoken(us: int) -> str:
    """A duration for people, in its two largest units: "4 m 12 s", "3 d 2 h"."""
    if us < SECOND:
        return "less than a second"
    units = (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND))
    largest = next(index for index, (_, size) in enumerate(units) if us >= size)
    parts = []
    for name, size in units[largest : largest + 2]:
        count, us = divmod(us, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts)


def clock_time(us: int) -> str:
    """An instant for people: to the second, in UTC."""
    return format_instant(us)[:19] + "Z"
