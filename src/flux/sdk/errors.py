"""What the SDK raises beside the errors of the domain."""

from __future__ import annotations

from flux.domain.errors import FluxError
from flux.domain.job import Job, JobError


class DeclarationError(FluxError, ValueError):
    """A handler, dependency or schedule is declared in a way that can never work. Raised where it is declared."""


class JobFailed(FluxError):
    """The job whose result was asked for is dead; ``error`` says why (kind, message), ``job`` is all of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error = job.error or JobError("exception", "no reason was kept")
        super().__init__(f"job {job.id} ({job.type}) is {job.state}: {self.error.kind}: {self.error.message}")


class JobCancelled(FluxError):
    """The job whose result was asked for was cancelled, expired or skipped; ``job`` is all of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.error = job.error
        reason = f": {job.error.message}" if job.error and job.error.message else ""
        super().__init__(f"job {job.id} ({job.type}) is {job.state}{reason}")


class AccessDenied(FluxError):
    """The server does not know the token, or the token may not do this."""
