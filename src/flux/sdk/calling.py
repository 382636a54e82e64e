"""How the engine calls a handler: payload, dependencies and middleware put together, as little as each one needs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from flux.engine.context import Context
from flux.engine.handler import Mode
from flux.sdk.arguments import Arguments
from flux.sdk.depends import Dependencies, Run, at_once
from flux.sdk.middleware import chain

HomeLoop = Callable[[], asyncio.AbstractEventLoop | None]
"""The event loop of the worker, for what is asynchronous around a synchronous handler."""


def build_call(
    function: Callable[..., Any],
    asynchronous: bool,
    arguments: Arguments,
    mode: Mode,
    dependencies: Dependencies,
    middleware: Sequence[Callable[..., Awaitable[Any]]],
    home: HomeLoop,
) -> Callable[[Context], Any]:
    """The ``call`` of a handler for the engine."""
    if not middleware and not arguments.injected:
        return direct_call(function, arguments)
    around = Surrounded(function, asynchronous, arguments, dependencies, middleware)
    if mode is Mode.THREAD:
        return partial(_from_thread, around, home)
    return around


def direct_call(function: Callable[..., Any], arguments: Arguments) -> Callable[[Context], Any]:
    """Decode and call, nothing else: the hot path. An ``async def`` gives its own coroutine, unwrapped."""
    decode, values = arguments.reader()
    refusal = arguments.refusal
    context_first = bool(arguments.positional) and arguments.positional[0] == arguments.context
    plain = not arguments.collects and not arguments.keyword_only
    if not arguments.names and plain:

        def without_arguments(ctx: Context) -> Any:
            payload = ctx.claimed.payload
            if payload != "{}":
                try:
                    decode(payload)
                except Exception as error:
                    raise refusal(error) from None
            return function(ctx) if context_first else function()

        return without_arguments
    if plain and (context_first or arguments.context is None):

        def positional(ctx: Context) -> Any:
            try:
                found = values(decode(ctx.claimed.payload))
            except Exception as error:
                raise refusal(error) from None
            return function(ctx, *found) if context_first else function(*found)

        return positional

    def by_name(ctx: Context) -> Any:
        found = arguments.keywords(ctx.claimed.payload)
        if arguments.context is not None:
            found[arguments.context] = ctx
        args, kwargs = arguments.arrange(found)
        return function(*args, **kwargs)

    return by_name


class Surrounded:
    """A handler with what stands around it: middleware outside, then arguments and dependencies, then the function."""

    def __init__(
        self,
        function: Callable[..., Any],
        asynchronous: bool,
        arguments: Arguments,
        dependencies: Dependencies,
        middleware: Sequence[Callable[..., Awaitable[Any]]],
    ) -> None:
        self.function = function
        self.asynchronous = asynchronous
        self.arguments = arguments
        self.dependencies = dependencies
        self.middleware = middleware

    def __call__(self, ctx: Context) -> Coroutine[Any, Any, Any]:
        return self.run(ctx, at_once)

    @property
    def never_waits(self) -> bool:
        """Whether nothing in it needs an event loop."""
        injected = self.arguments.injected.values()
        return (
            not self.asynchronous
            and not self.middleware
            and all(map(self.dependencies.never_waits, injected))
        )

    async def run(self, ctx: Context, run: Run) -> Any:
        """One attempt; ``run`` says where synchronous parts run."""
        return await chain(self.middleware, partial(self._innermost, run))(ctx)

    async def _innermost(self, run: Run, ctx: Context) -> Any:
        found = self.arguments.keywords(ctx.claimed.payload)
        return await self.with_arguments(found, ctx, run)

    async def with_arguments(self, found: dict[str, Any], ctx: Context, run: Run) -> Any:
        """The function with the arguments given, its dependencies made and torn down around it."""
        arguments, wanted = self.arguments, self.arguments.injected
        if found.keys() & wanted.keys():
            wanted = {name: one for name, one in wanted.items() if name not in found}
        async with AsyncExitStack() as stack:
            found |= await self.dependencies.fill(wanted, ctx, stack, {}, run)
            if arguments.context is not None:
                found.setdefault(arguments.context, ctx)
            args, kwargs = arguments.arrange(found)
            if self.asynchronous:
                return await self.function(*args, **kwargs)
            return await run(partial(self.function, *args, **kwargs))


def without_waiting(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("a synchronous handler's surroundings waited without an event loop")


def _from_thread(around: Surrounded, home: HomeLoop, ctx: Context) -> Any:
    if around.never_waits:
        return without_waiting(around.run(ctx, at_once))
    loop = home()
    if loop is None:
        raise RuntimeError(
            "a synchronous handler with middleware or asynchronous dependencies needs the worker's event loop: "
            "run it by flux.worker(), the flux command, or within flux.lifespan()"
        )
    return across_threads(loop, partial(around.run, ctx))


def across_threads(loop: asyncio.AbstractEventLoop, run: Callable[[Run], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on the worker's loop from a handler's thread; its synchronous parts come back to this thread.

    So a thread-bound resource (a sqlite3 connection) is made, used and closed in one thread, and the loop never blocks.
    """
    inbox: queue.SimpleQueue[tuple[Callable[[], Any], concurrent.futures.Future[Any]] | None] = (
        queue.SimpleQueue()
    )

    async def here(work: Callable[[], Any]) -> Any:
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        inbox.put((work, answer))
        return await asyncio.wrap_future(answer)

    whole = asyncio.run_coroutine_threadsafe(run(here), loop)
    whole.add_done_callback(lambda _: inbox.put(None))
    while (item := inbox.get()) is not None:
        work, answer = item
        if not answer.set_running_or_notify_cancel():
            continue
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)
    return whole.result()
