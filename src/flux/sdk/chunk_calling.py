"""How the engine calls a chunk handler: one call for many attempts, each of them within its own middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from contextvars import Context as Variables
from contextvars import copy_context
from functools import partial
from typing import Any

from flux.engine.capture import current
from flux.engine.context import Context
from flux.engine.handler import BadArguments, BadResult
from flux.sdk.calling import HomeLoop, across_threads, without_waiting
from flux.sdk.chunk import ChunkArguments
from flux.sdk.depends import Dependencies, Run, at_once
from flux.sdk.middleware import chain


class ChunkCall:
    """The ``call_chunk`` of a handler: one value for each context; an exception in a place fails that job alone."""

    def __init__(
        self,
        function: Callable[..., Any],
        asynchronous: bool,
        arguments: ChunkArguments,
        dependencies: Dependencies,
        middleware: Sequence[Callable[..., Awaitable[Any]]],
        home: HomeLoop,
    ) -> None:
        self.function = function
        self.asynchronous = asynchronous
        self.arguments = arguments
        self.dependencies = dependencies
        self.middleware = middleware
        self.home = home

    def __call__(self, contexts: Sequence[Context]) -> Any:
        if self.asynchronous:
            return self._run(contexts, at_once)
        if not self.middleware and all(map(self.dependencies.never_waits, self.arguments.injected.values())):
            return without_waiting(self._run(contexts, at_once))
        loop = self.home()
        if loop is None:
            raise RuntimeError(
                "middleware and asynchronous dependencies of a synchronous chunk handler need the worker's event loop: "
                "run it by flux.worker(), the flux command, or within flux.lifespan()"
            )
        return across_threads(loop, partial(self._run, contexts))

    async def _run(self, contexts: Sequence[Context], run: Run) -> list[Any]:
        if not self.middleware:
            return await self._call(contexts, run)
        gathering = Gathering(len(contexts))
        async with asyncio.TaskGroup() as group:
            members = [
                group.create_task(self._member(ctx, number, gathering), context=_variables_of(ctx))
                for number, ctx in enumerate(contexts)
            ]
            await gathering.run(lambda contexts: self._call(contexts, run))
        return [member.result() for member in members]

    async def _member(self, ctx: Context, number: int, gathering: Gathering) -> Any:
        """One attempt within its middleware: its value, or what was raised."""
        try:
            return await chain(self.middleware, partial(gathering.join, number))(ctx)
        except BaseException as error:
            return error
        finally:
            gathering.leave()

    async def _call(self, contexts: Sequence[Context], run: Run) -> list[Any]:
        """The function, called with the items of these attempts; those whose payload does not fit are left out."""
        values: list[Any] = []
        good: list[Context] = []
        items: list[Any] = []
        for ctx in contexts:
            try:
                items.append(self.arguments.read(ctx.claimed.payload))
            except BadArguments as error:
                values.append(error)
            else:
                good.append(ctx)
                values.append(None)
        if not items:
            return values
        args = (good, items) if self.arguments.takes_contexts else (items,)
        async with AsyncExitStack() as stack:
            made = await self.dependencies.fill(self.arguments.injected, None, stack, {}, run)
            if self.asynchronous:
                answers = await self.function(*args, **made)
            else:
                answers = await run(partial(self.function, *args, **made))
        return _spread(values, answers, len(items))


class Gathering:
    """Where the attempts of one chunk meet on their way inwards: once all that are under way stand here, there is one
    call for all of them, and each goes back with its own answer."""

    def __init__(self, members: int) -> None:
        self._under_way = members
        self._here: dict[int, tuple[Context, asyncio.Future[Any]]] = {}
        self._changed = asyncio.Event()

    async def join(self, member: int, ctx: Context) -> Any:
        """Wait for the call: what it answered for this member, raised when it is an exception."""
        if member in self._here:
            raise RuntimeError("a middleware asks call_next again before it has answered")
        answer = asyncio.get_running_loop().create_future()
        self._here[member] = ctx, answer
        self._changed.set()
        try:
            value = await answer
        finally:
            if self._here.get(member, (None, None))[1] is answer:
                del self._here[member]  # its middleware has lost patience
                self._changed.set()
        if isinstance(value, BaseException):
            raise value
        return value

    def leave(self) -> None:
        """A member's middleware has ended."""
        self._under_way -= 1
        self._changed.set()

    async def run(self, call: Callable[[list[Context]], Awaitable[list[Any]]]) -> None:
        """Make the calls until all members have left: one, unless a middleware asks call_next again."""
        while self._under_way:
            await self._changed.wait()
            self._changed.clear()
            if self._here and len(self._here) == self._under_way:
                asking, self._here = list(self._here.values()), {}
                try:
                    values = await call([ctx for ctx, _ in asking])
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    values = [error] * len(asking)
                for (_, answer), value in zip(asking, values, strict=True):
                    if not answer.done():
                        answer.set_result(value)


def _variables_of(ctx: Context) -> Variables:
    """The context variables of one attempt of the chunk: what its middleware logs is kept with it."""
    variables = copy_context()
    variables.run(current.set, ctx)
    return variables


def _spread(values: list[Any], answers: Any, count: int) -> list[Any]:
    """The answers, put into the places that are not taken by a refusal."""
    if answers is None:
        return values
    if not isinstance(answers, (list, tuple)) or len(answers) != count:
        raise BadResult(answers, count)
    given = iter(answers)
    return [value if isinstance(value, BadArguments) else next(given) for value in values]
