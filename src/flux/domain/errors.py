"""What can be refused, and why: the errors every door of Flux turns into its own form (REST: problem+json)."""

from __future__ import annotations

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One refused field: its path (``jobs[3].max_retries``) and a sentence that says what is wrong and what to do."""

    field: str
    message: str


class FluxError(Exception):
    """The parent of every error that Flux raises on purpose."""


class Invalid(FluxError):
    """The request cannot be accepted as it is; ``errors`` names each field. Nothing was stored."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))

    @classmethod
    def one(cls, field: str, message: str) -> Invalid:
        """The usual case: a single field is wrong."""
        return cls([FieldError(field, message)])


class NotFound(FluxError):
    """There is no such job, queue, worker or schedule."""


class Conflict(FluxError):
    """The request contradicts what is stored: a job that already runs, a key used for another request."""


class KeyTaken(Conflict):
    """The idempotency key stands for another request already."""


class TooDeep(FluxError):
    """The queue has reached its maximum depth; ``retry_after`` (microseconds) says when to try again."""

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Unavailable(FluxError):
    """The store cannot be used now (locked, full, read-only, away). Nothing was half-done; try again."""


class InDoubt(Unavailable):
    """The answer to a commit was lost: whether it was kept is not known yet."""


class DataRefused(FluxError):
    """The store refused a batch because of what is in it; the caller halves the batch to find the row."""


class LeaseLost(FluxError):
    """This worker's lease has lapsed: whatever it holds belongs to somebody else now."""


class NotLeader(FluxError):
    """The writer's epoch is not the leader's: another scheduler has taken over."""


class SchemaMismatch(FluxError):
    """The store's schema is older or newer than this program; the text says which and what to do."""
