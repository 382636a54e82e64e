"""What a durable function meets where it awaits, and what ends its replay."""

from __future__ import annotations

import asyncio

from flux.domain.errors import FluxError
from flux.workflows.history import Call, CallError


class CallFailed(FluxError):
    """What a durable function awaits (a step, a signal, another workflow) has failed: ``kind`` and ``message``."""

    def __init__(self, call: Call, error: CallError) -> None:
        super().__init__(f"{call.kind} {call.name}: {error.message}")
        self.call = call
        self.kind = error.kind
        self.message = error.message


class CallTimedOut(CallFailed, TimeoutError):
    """It took longer than it was given, or the signal did not come in time."""


class WorkflowCancelled(asyncio.CancelledError):
    """Somebody cancelled the run. It may still clean up (``finally``), with calls of its own, and should end then."""


class ForeignAwait(RuntimeError):
    """A durable function awaited something that is not recorded, and so could not be replayed."""


class ContinueAsNew(BaseException):
    """Ends a run that goes on as a new one, with these arguments and an empty history."""

    def __init__(self, arguments: dict[str, object]) -> None:
        super().__init__("the run goes on as a new one")
        self.arguments = arguments


def failure(call: Call, error: CallError) -> CallFailed:
    """What is raised where the call is awaited."""
    return (CallTimedOut if error.kind == "timeout" else CallFailed)(call, error)
