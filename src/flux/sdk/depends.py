"""Dependencies at work: made before the handler, shared within an attempt (or a worker), torn down in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from flux.engine.capture import shared_task
from flux.engine.context import Context
from flux.sdk.errors import DeclarationError
from flux.sdk.injection import Injected, Scope

Run = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a synchronous piece of work where the handler runs: at once on the loop, or in the handler's thread."""


async def at_once(work: Callable[[], Any]) -> Any:
    """Run it here."""
    return work()


class Node:
    """One dependency function, looked into once."""

    __slots__ = ("asynchronous", "context", "generator", "get", "needs", "scope")

    def __init__(self, get: Callable[..., Any], scope: Scope) -> None:
        target = get if inspect.isroutine(get) or inspect.isclass(get) else type(get).__call__
        self.get = get
        self.scope = scope
        self.generator = inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target)
        self.asynchronous = inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)
        self.context: str | None = None
        self.needs: dict[str, Injected] = {}

    def inputs(self, made: Mapping[str, Any], ctx: Context | None) -> dict[str, Any]:
        """Its keyword arguments."""
        return {**made, self.context: ctx} if self.context is not None else dict(made)


class Dependencies:
    """The dependencies of one application. ``overrides`` puts one function in the place of another, for tests."""

    def __init__(self) -> None:
        self.overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self._nodes: dict[tuple[Callable[..., Any], Scope], Node] = {}
        self._scopes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WorkerScope] = (
            weakref.WeakKeyDictionary()
        )

    def check(self, injected: Injected, what: str, path: tuple[Callable[..., Any], ...] = ()) -> None:
        """Look through a dependency and what it needs. Raises ``DeclarationError``."""
        if injected.get in path:
            names = " -> ".join(_name(get) for get in (*path, injected.get))
            raise DeclarationError(f"{what}: dependencies go in a circle: {names}")
        node = self._node(injected, what)
        if node.scope == "worker" and node.context is not None:
            raise DeclarationError(
                f'{what}: {_name(node.get)} has scope="worker" and cannot take the Context'
            )
        for need in node.needs.values():
            if node.scope == "worker" and need.scope != "worker":
                raise DeclarationError(
                    f'{what}: {_name(node.get)} has scope="worker" and cannot need {_name(need.get)}, '
                    "which lives for one attempt only"
                )
            self.check(need, what, (*path, injected.get))

    def wants_context(self, injected: Injected) -> bool:
        """Whether it, or what it needs, takes the attempt's Context."""
        node = self._node(injected, "a dependency")
        return node.context is not None or any(map(self.wants_context, node.needs.values()))

    def never_waits(self, injected: Injected) -> bool:
        """Whether it can be made without an event loop: synchronous all through, and for the attempt only."""
        node = self._actual(injected)
        if node.asynchronous or injected.scope == "worker":
            return False
        return all(map(self.never_waits, node.needs.values()))

    async def fill(
        self,
        injected: Mapping[str, Injected],
        ctx: Context | None,
        stack: AsyncExitStack,
        made: dict[Callable[..., Any], Any],
        run: Run,
    ) -> dict[str, Any]:
        """The values for the parameters ``injected``; what must be torn down is put on ``stack``.

        ``made`` holds what this attempt has already; ``run`` runs synchronous ones.
        """
        values = {}
        for name, one in injected.items():
            if one.get in made:
                values[name] = made[one.get]
            elif one.scope == "worker":
                values[name] = await self.worker_scope().get(one)
            else:
                node = self._actual(one)
                inner = await self.fill(node.needs, ctx, stack, made, run)
                values[name] = made[one.get] = await _make(node, node.inputs(inner, ctx), stack, run)
        return values

    def worker_scope(self) -> WorkerScope:
        """What the worker on this event loop shares between its attempts."""
        loop = asyncio.get_running_loop()
        scope = self._scopes.get(loop)
        if scope is None:
            scope = self._scopes[loop] = WorkerScope(self)
        return scope

    def _actual(self, injected: Injected) -> Node:
        fake = self.overrides.get(injected.get)
        return self._node(injected if fake is None else Injected(fake, injected.scope), "flux.overrides")

    def _node(self, injected: Injected, what: str) -> Node:
        key = (injected.get, injected.scope)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = _look_into(injected, what)
        return node


class WorkerScope:
    """Dependencies with ``scope="worker"``: made when first needed, torn down when the worker leaves."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = weakref.proxy(dependencies)
        self._made: dict[Callable[..., Any], asyncio.Task[Any]] = {}
        self._stack = AsyncExitStack()

    async def get(self, injected: Injected) -> Any:
        """The value, made once however many attempts ask at the same time; a failure is tried again by the next."""
        task = self._made.get(injected.get)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            # Nobody's own task: the attempt that happened to ask first may end, and be cancelled.
            task = self._made[injected.get] = shared_task(self._make(injected))
        return await asyncio.shield(task)

    async def _make(self, injected: Injected) -> Any:
        node = self._dependencies._actual(injected)
        inner = {name: await self.get(need) for name, need in node.needs.items()}
        return await _make(node, inner, self._stack, at_once)

    async def close(self) -> None:
        """Tear everything down, in reverse order."""
        tasks, self._made = list(self._made.values()), {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()


async def _make(node: Node, inputs: dict[str, Any], stack: AsyncExitStack, run: Run) -> Any:
    if not node.generator:
        if node.asynchronous:
            return await node.get(**inputs)
        return await run(lambda: node.get(**inputs))
    if node.asynchronous:
        awaited = contextlib.asynccontextmanager(node.get)(**inputs)
        value = await awaited.__aenter__()

        async def leave(*error: Any) -> None:
            await awaited.__aexit__(*error)
    else:
        plain = contextlib.contextmanager(node.get)(**inputs)
        value = await run(plain.__enter__)

        async def leave(*error: Any) -> None:
            await run(lambda: plain.__exit__(*error))

    # `leave` answers None, so a dependency may look at a failure and not hide it.
    stack.push_async_exit(leave)
    return value


def _look_into(injected: Injected, what: str) -> Node:
    from flux.sdk.arguments import hints_of, injected_by, is_context

    node = Node(injected.get, injected.scope)
    get = injected.get
    where = f"{what}: {_name(get)}"
    function = get.__init__ if inspect.isclass(get) else get
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        parameters = inspect.signature(get).parameters.values()
        hints = hints_of(function, where)
    except (TypeError, ValueError):
        # A builtin without a signature: called without arguments.
        return node
    for parameter in parameters:
        hint = hints.get(parameter.name, Any)
        need = injected_by(hint, parameter.default)
        if need is not None:
            node.needs[parameter.name] = need
        elif is_context(hint):
            node.context = parameter.name
        elif parameter.default is inspect.Parameter.empty and parameter.kind not in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        ):
            raise DeclarationError(
                f"{where}: nothing fills its parameter {parameter.name!r}; give it a default, Depends(…) or Context"
            )
    return node


def _name(get: Callable[..., Any]) -> str:
    return getattr(get, "__qualname__", repr(get))
