"""Middleware: what stands around every attempt and every enqueue of an application."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Any, Protocol, get_args, get_origin, overload

from flux.domain.request import JobRequest
from flux.engine.context import Context
from flux.sdk.arguments import hints_of
from flux.sdk.doors import Accepted
from flux.sdk.errors import DeclarationError


class Enqueue:
    """Jobs on their way into the store, in one transaction, as a middleware sees them.

    ``requests`` may be changed, such as their ``headers``; as many must go on as came, in the same order.
    """

    __slots__ = ("requests",)

    def __init__(self, requests: list[JobRequest]) -> None:
        self.requests = requests


class CallNext(Protocol):
    """The way inwards, given what the middleware was given. Of an attempt it answers with the handler's value, of an
    enqueue with what was accepted; what goes wrong there is raised."""

    @overload
    def __call__(self, call: Context, /) -> Awaitable[Any]: ...
    @overload
    def __call__(self, call: Enqueue, /) -> Awaitable[Sequence[Accepted]]: ...


AttemptMiddleware = Callable[[Context, CallNext], Awaitable[Any]]
EnqueueMiddleware = Callable[[Enqueue, CallNext], Awaitable[Sequence[Accepted]]]


class Around:
    """The middleware of one application, by what it is around."""

    def __init__(self) -> None:
        self.attempts: list[Callable[..., Awaitable[Any]]] = []
        self.enqueues: list[Callable[..., Awaitable[Any]]] = []

    def add(self, function: Callable[..., Awaitable[Any]]) -> None:
        """Put one innermost; its first parameter's annotation says around what. Raises ``DeclarationError``."""
        kinds = _first_kinds(function)
        if Context in kinds:
            self.attempts.append(function)
        if Enqueue in kinds:
            self.enqueues.append(function)


def chain(
    middleware: Sequence[Callable[..., Awaitable[Any]]], innermost: Callable[[Any], Awaitable[Any]]
) -> Callable[[Any], Awaitable[Any]]:
    """``innermost`` with middleware around it, the first one outermost."""
    for one in reversed(middleware):
        innermost = partial(_call, one, innermost)
    return innermost


def _call(middleware: Callable[..., Awaitable[Any]], call_next: Any, call: Any) -> Awaitable[Any]:
    return middleware(call, call_next)


def _first_kinds(function: Callable[..., Any]) -> set[type]:
    """Of Context and Enqueue those that the first parameter may be; both when nothing is said."""
    what = f"@flux.middleware on {getattr(function, '__qualname__', repr(function))}"
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise DeclarationError(f"{what}: it is put on a function of (call, call_next)") from None
    if len(parameters) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise DeclarationError(f"{what}: it takes two arguments, the call and call_next")
    hints = hints_of(function if inspect.isroutine(function) else type(function).__call__, what)
    hint = hints.get(parameters[0].name, Any)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if hint is Any or hint is object:
        return {Context, Enqueue}
    kinds = {one for one in (get_args(hint) or (hint,)) if isinstance(one, type)}
    if not kinds or not kinds <= {Context, Enqueue}:
        raise DeclarationError(
            f"{what}: its first parameter is a Context (around attempts), an Enqueue (around enqueues), "
            f"Context | Enqueue or not annotated (both); not {hint!r}"
        )
    return kinds
