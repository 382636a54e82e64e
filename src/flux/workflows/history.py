"""What is recorded of one run of a durable function: the calls it made, and what came of them."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """What a call asks for."""

    RUN = "run"
    """A job. ``name`` is its type, ``payload`` its arguments."""
    SLEEP = "sleep"
    """Time. ``payload`` is how long, in microseconds."""
    SIGNAL = "signal"
    """A signal from outside. ``name`` is the signal's, ``payload`` how long it is waited for (null: for ever)."""
    WORKFLOW = "workflow"
    """Another workflow. ``name`` is its template's or function's, ``payload`` its input."""
    PATCH = "patch"
    """A mark that the run has passed a change of its code. It needs nobody and ends with being recorded."""


class Call(msgspec.Struct, frozen=True):
    """Something that a durable function awaits. ``number`` counts its calls from 0, ``payload`` is canonical JSON."""

    number: int
    kind: Kind
    name: str
    payload: bytes = b"null"

    def __str__(self) -> str:
        shown = self.payload.decode()
        if len(shown) > 200:
            shown = f"{shown[:200]}…"
        named = f" {self.name}" if self.name else ""
        return f"{self.kind}{named}" if shown == "null" else f"{self.kind}{named} {shown}"


class CallError(msgspec.Struct, frozen=True):
    """Why a call failed; ``kind`` is that of a job's error, ``timeout`` where a signal did not come."""

    kind: str
    message: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A call has ended: with a JSON value, or with an error. ``at``: microseconds since the epoch."""

    number: int
    at: int
    value: bytes = b"null"
    error: CallError | None = None


class CancelAsked(msgspec.Struct, frozen=True, tag="cancel"):
    """Somebody cancels the run."""

    at: int
    reason: str | None = None


class History(msgspec.Struct):
    """One run so far. ``calls`` stand at their numbers, ``events`` in the order in which they came to be known.

    Both only ever grow; replayed in that order the function is where it was.
    """

    run_id: str
    started_at: int
    calls: list[Call] = []
    events: list[Ended | CancelAsked] = []
