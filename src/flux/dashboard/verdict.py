"""Is it fine? One sentence and three lights, each with its cause and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flux.dashboard.reads import serves, waiting_now
from flux.dashboard.words import coarse, plural, span
from flux.domain.duration import MINUTE, SECOND
from flux.engine.ports import QueueView, WorkerView
from flux.engine.statistics import Statistics

GOOD, WARN, BAD = "good", "warn", "bad"
_ORDER = {GOOD: 0, WARN: 1, BAD: 2}

BEHIND = MINUTE
"""A job that could run and has waited this long means that its queue falls behind."""

SAMPLE_STALE = 90 * SECOND
"""The scheduler samples each second, at rest each minute."""


@dataclass(frozen=True, slots=True)
class Light:
    """One of the three: how it stands, why, and the next thing to do (``link`` leads there, ``command`` is typed)."""

    name: str
    colour: str
    cause: str
    action: str = ""
    link: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence and what it rests on."""

    sentence: str
    colour: str
    lights: tuple[Light, ...]


def judge(
    views: Sequence[QueueView],
    workers: Sequence[WorkerView],
    unserved: Sequence[tuple[str, str, int]],
    hour: Statistics,
    now: int,
) -> Verdict:
    """The verdict on everything."""
    lights = (_flow(views, workers, unserved, now), _execution(hour), _freshness(views, hour, now))
    worst = max(lights, key=lambda light: _ORDER[light.colour])
    if worst.colour != GOOD:
        return Verdict(f"{worst.cause}.", worst.colour, lights)
    return Verdict(f"Everything flows: {_calm(workers, hour)}.", GOOD, lights)


def _calm(workers: Sequence[WorkerView], hour: Statistics) -> str:
    alive = [worker for worker in workers if worker.alive]
    parts = []
    running = sum(worker.busy for worker in alive)
    if running:
        parts.append(f"{plural(running, 'job')} running")
    if hour.now.finished:
        parts.append(f"{plural(hour.now.finished, 'job')} ended in the last minute")
    elif hour.whole.finished:
        parts.append(f"{plural(hour.whole.finished, 'job')} ended in the last hour")
    else:
        parts.append("nothing has run in the last hour")
    parts.append(
        f"{plural(len(alive), 'worker')} ready" if not running else f"on {plural(len(alive), 'worker')}"
    )
    return ", ".join(parts)


def _flow(
    views: Sequence[QueueView],
    workers: Sequence[WorkerView],
    unserved: Sequence[tuple[str, str, int]],
    now: int,
) -> Light:
    """Do jobs that may run get to run?"""
    for view in views:
        name = view.settings.name
        if (
            waiting_now(view)
            and not view.settings.paused
            and not any(serves(worker, name) for worker in workers)
        ):
            if not any(worker.alive for worker in workers):
                return Light(
                    "flow", BAD, f"Jobs wait on queue {name}: no worker is alive", "Start one:",
                    command="flux worker app:flux",
                )  # fmt: skip
            return Light(
                "flow", BAD, f"Jobs wait on queue {name}: no worker serves it", "Start one that does:",
                command=f"flux worker app:flux --queues {name}",
            )  # fmt: skip
    if unserved:
        job_type, queue, _ = unserved[0]
        more = f" (and {plural(len(unserved) - 1, 'other type')})" if len(unserved) > 1 else ""
        cause = f"Jobs of type {job_type} wait on queue {queue}: no live worker knows that type{more}"
        return Light("flow", BAD, cause, "Look at the workers", link="/workers")
    paused = [view for view in views if view.settings.paused and waiting_now(view)]
    if paused:
        n = sum(waiting_now(view) for view in paused)
        names = ", ".join(view.settings.name for view in paused[:3]) + ("…" if len(paused) > 3 else "")
        return Light(
            "flow", WARN, f"{plural(n, 'job')} wait because {'queue' if len(paused) == 1 else 'queues'} {names} "
            f"{'is' if len(paused) == 1 else 'are'} paused", "Look at the queues", link="/queues",
        )  # fmt: skip
    oldest = max(
        (
            (now - view.oldest, view.settings.name)
            for view in views
            if view.oldest is not None and waiting_now(view)
        ),
        default=(0, ""),
    )
    if oldest[0] > BEHIND:
        return Light(
            "flow", WARN, f"Queue {oldest[1]} falls behind: its oldest job waits {coarse(oldest[0])}",
            "Look at the queues", link="/queues",
        )  # fmt: skip
    waiting = sum(waiting_now(view) for view in views)
    return Light(
        "flow", GOOD, f"{plural(waiting, 'job')} waiting, none for long" if waiting else "No job waits"
    )


def _execution(hour: Statistics) -> Light:
    """Do jobs that run succeed?"""
    dead = hour.whole.outcomes.get("dead", 0)
    good = hour.whole.outcomes.get("succeeded", 0)
    if not dead:
        said = "No job failed in the last hour"
        if good:
            which = "The one job" if good == 1 else f"All {plural(good, 'job')}"
            said = f"{which} of the last hour succeeded"
        return Light("execution", GOOD, said)
    share = dead / (dead + good)
    kind = max(hour.whole.errors, key=lambda one: hour.whole.errors[one], default="")
    why = f", most by {kind.replace('_', ' ')}" if kind else ""
    percent = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    cause = f"{plural(dead, 'job')} died in the last hour ({percent}{why})"
    return Light(
        "execution", BAD if share > 0.2 else WARN, cause, "Look at the dead jobs", link="/jobs?state=dead"
    )


def _freshness(views: Sequence[QueueView], hour: Statistics, now: int) -> Light:
    """Does somebody release what comes due, and are these numbers new?"""
    if hour.sampled_at is None:
        if views:
            return Light(
                "freshness", WARN, "No scheduler has run yet: delayed jobs and schedules would not start",
                "Start one:", command="flux scheduler",
            )  # fmt: skip
        return Light("freshness", GOOD, "The store answers")
    age = now - hour.sampled_at
    if age > SAMPLE_STALE:
        return Light(
            "freshness", BAD, f"No scheduler has run for {span(age // MINUTE * MINUTE)}: "
            "delayed jobs and schedules do not start", "Start one:", command="flux scheduler",
        )  # fmt: skip
    return Light("freshness", GOOD, "The scheduler runs and the numbers are new")
