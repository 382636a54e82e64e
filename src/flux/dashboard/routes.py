"""Which path is which page or action."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from flux.dashboard.pages import (
    job,
    job_actions,
    jobs,
    jobs_actions,
    jobs_cancel,
    overview,
    queues,
    schedules,
    workers,
)
from flux.dashboard.site import Action, Page

H = TypeVar("H", Page, Action)


@dataclass(frozen=True, slots=True)
class Found(Generic[H]):
    """What a path leads to, and the values of its parts."""

    value: H
    parts: dict[str, str]


class Routes(Generic[H]):
    """Paths with ``{parts}``. A part may hold slashes, since names of queues may."""

    def __init__(self, *routes: tuple[str, H]) -> None:
        self._routes: list[tuple[re.Pattern[str], H]] = [
            (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(path))), value)
            for path, value in routes
        ]

    def find(self, path: str) -> Found[H] | None:
        """The handler for a path, or None."""
        for pattern, value in self._routes:
            if match := pattern.fullmatch(path):
                return Found(value, match.groupdict())
        return None


PAGES: Routes[Page] = Routes(
    ("/", overview.page),
    ("/jobs", jobs.page),
    ("/jobs/cancel", jobs_cancel.page),
    ("/jobs/{id}", job.page),
    ("/queues", queues.page),
    ("/workers", workers.page),
    ("/schedules", schedules.page),
)

ACTIONS: Routes[Action] = Routes(
    ("/jobs/retry", jobs_actions.retry_many),
    ("/jobs/cancel", jobs_actions.cancel_many),
    ("/jobs/{id}/retry", job_actions.retry),
    ("/jobs/{id}/cancel", job_actions.cancel),
    ("/jobs/{id}/rerun", job_actions.rerun),
    ("/queues/{name}/pause", queues.pause),
    ("/queues/{name}/resume", queues.resume),
    ("/workers/{id}/drain", workers.drain),
    ("/schedules/{name}/trigger", schedules.trigger),
    ("/schedules/{name}/pause", schedules.pause),
    ("/schedules/{name}/resume", schedules.resume),
)
