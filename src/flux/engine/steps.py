"""What a worker asks about a job that is a step of a workflow, before it calls the handler."""

from __future__ import annotations

from typing import Protocol

from flux.domain.errors import FluxError
from flux.domain.job import ClaimedJob


class StepRefused(FluxError):
    """An expression of the step cannot be evaluated; no retry mends that."""


class Steps(Protocol):
    """Resolves the expressions of steps. What they read has ended and does not change, so that each attempt of a step
    gets the same."""

    async def resolve(self, job: ClaimedJob) -> str | None:
        """The payload for the handler; None when the step's condition says that it is skipped.

        Raises ``StepRefused``, ``Unavailable``.
        """
        ...
