"""Waiting on behalf of a client, who may leave, in a server that may stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from flux.api.http import Call

if TYPE_CHECKING:
    from flux.api.app import Api

T = TypeVar("T")


async def ended_or_now(
    api: Api, call: Call, ended: Coroutine[Any, Any, T], now: Callable[[], Awaitable[T]]
) -> T:
    """What ``ended`` comes to; when the client leaves or the server stops before, how it stands ``now``."""
    waiting = asyncio.ensure_future(ended)
    stopping = asyncio.ensure_future(api.stopping.wait())
    gone = asyncio.ensure_future(call.left())
    try:
        await asyncio.wait({waiting, stopping, gone}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else await now()
    finally:
        for task in (waiting, stopping, gone):
            task.cancel()
        await asyncio.wait({waiting, stopping, gone})
