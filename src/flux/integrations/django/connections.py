"""Database connections in attempts as Django has them in requests: checked before, closed after as settings say.

Without this a thread of the worker would keep its first connection for ever, also after the database hung up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections

from flux.engine.handler import Handler, Mode
from flux.sdk.app import Flux

T = TypeVar("T")


class DjangoFlux(Flux):
    """A ``Flux`` whose handlers may use Django's databases."""

    def handlers(self) -> Mapping[str, Handler]:
        """See ``Flux``."""
        return {name: _tidy(handler) for name, handler in super().handlers().items()}


def _tidy(handler: Handler) -> Handler:
    if handler.mode is Mode.PROCESS:
        # The child finds the handler by its target, not through us, and its connections end with it.
        return handler
    around = _in_a_thread if handler.mode is Mode.THREAD else _on_the_loop
    chunk = handler.call_chunk
    return msgspec.structs.replace(
        handler,
        call=partial(around, handler.call),
        call_chunk=None if chunk is None else partial(around, chunk),
    )


def _in_a_thread(call: Callable[[T], Any], attempt: T) -> Any:
    close_old_connections()
    try:
        return call(attempt)
    finally:
        close_old_connections()


async def _on_the_loop(call: Callable[[T], Awaitable[Any]], attempt: T) -> Any:
    # As Django serves ASGI: what is synchronous below one attempt has a thread, and so connections, of its own.
    async with ThreadSensitiveContext():
        try:
            return await call(attempt)
        finally:
            await sync_to_async(close_old_connections)()
