"""What the SDK's unit tests share: an application without a store, and attempts without jobs."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest

from flux import Context, Flux, JobHandler
from flux.sdk.direct import LoggingDesk, stand_in_job


@pytest.fixture
def flux() -> Flux:
    return Flux("sqlite:////nowhere/never-opened.db")


def context_of(handler: JobHandler[..., Any], payload: object = msgspec.UNSET) -> Context:
    """A context as a worker would make it; the payload as it stands in the store."""
    raw = b"{}" if payload is msgspec.UNSET else msgspec.json.encode(payload)
    return Context(stand_in_job(handler.type, raw, "job-1"), LoggingDesk())


async def attempt(handler: JobHandler[..., Any], payload: object = msgspec.UNSET) -> Any:
    """Run one attempt as a worker does."""
    value = handler.handler.call(context_of(handler, payload))
    return await value if inspect.isawaitable(value) else value
