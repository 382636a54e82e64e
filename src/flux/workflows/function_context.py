"""What a durable function is given: every way in which it may ask for something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from inspect import iscoroutine
from typing import Any, Generic, NoReturn, Protocol, TypeVar
from uuid import UUID

from flux.domain.duration import parse_duration
from flux.workflows.errors import ContinueAsNew
from flux.workflows.fibers import All, First, Node
from flux.workflows.history import Kind
from flux.workflows.replay import Pending, Replay

T = TypeVar("T")


class Step(Protocol):
    """A job that a durable function may run: its type, its arguments as JSON values, how its result is read."""

    def call(self, *args: Any, **kwargs: Any) -> tuple[str, Any, Callable[[bytes], Any]]:
        """(type, payload, decoder)"""
        ...


class Selected(Generic[T]):
    """Which of several awaitables ended first. ``value`` is what it came to; it raises when that failed."""

    def __init__(self, name: str, node: Node[T]) -> None:
        self.name = name
        self._node = node

    @property
    def value(self) -> T:
        """What it came to."""
        return self._node.result()

    def __repr__(self) -> str:
        return f"<Selected {self.name}>"


class WorkflowContext:
    """The first argument of a durable function. Whatever it gives is the same at each replay."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._replay.history.run_id

    # --- steps ---

    def run(self, step: Step, *args: Any, **kwargs: Any) -> Pending:
        """Run a job and give its result. Raises ``CallFailed`` where it is awaited, when all attempts have failed."""
        type, payload, decode = step.call(*args, **kwargs)
        return Pending(self._replay, Kind.RUN, type, payload, decode)

    def workflow(self, name: str, input: Any = None) -> Pending:
        """Run another workflow and give its output. Raises ``CallFailed``."""
        return Pending(self._replay, Kind.WORKFLOW, name, input)

    def sleep(self, duration: str | float | timedelta) -> Pending:
        """Wait so long. Nothing is held meanwhile."""
        us = parse_duration(duration)
        if us < 0:
            raise ValueError(f"ctx.sleep: {duration!r} is negative")
        return Pending(self._replay, Kind.SLEEP, "", us)

    def signal(self, name: str, timeout: str | float | timedelta | None = None) -> Pending:
        """What a signal of this name brings; one that came early is kept. Raises ``CallTimedOut`` after ``timeout``."""
        us = None if timeout is None else parse_duration(timeout)
        return Pending(self._replay, Kind.SIGNAL, name, us)

    # --- several at once ---

    def gather(self, *these: Awaitable[Any], return_exceptions: bool = False) -> Node[list[Any]]:
        """All of them at once; their values in order. The first that fails raises, the others go on."""
        return All([self._node(one) for one in these], errors_too=return_exceptions)

    def select(self, **these: Awaitable[Any]) -> _Select:
        """The first of several to end, by its name; the others go on and may be awaited later."""
        if not these:
            raise ValueError("ctx.select needs something to wait for: ctx.select(ok=..., late=...)")
        return _Select({name: self._node(one) for name, one in these.items()})

    def _node(self, one: Awaitable[Any]) -> Node[Any]:
        if isinstance(one, Node):
            return one
        coroutine: Coroutine[Any, Any, Any] = one if iscoroutine(one) else _awaiting(one)
        return self._replay.spawn(coroutine)

    # --- what must not come from elsewhere ---

    def now(self) -> datetime:
        """The time, in UTC: when what the function waited for last had ended."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._replay.now)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._replay.random.random()

    def uuid4(self) -> UUID:
        """A random UUID."""
        return UUID(int=self._replay.random.getrandbits(128), version=4)

    # --- changes of the code ---

    def patched(self, name: str) -> bool:
        """Mark a change of the code: True for runs that come here after it, False for those that went past before."""
        return self._replay.patched(name)

    def continue_as_new(self, **arguments: Any) -> NoReturn:
        """End this run and go on as a new one, with these arguments and nothing recorded."""
        raise ContinueAsNew(arguments)


class _Select(Awaitable[Selected[Any]]):
    def __init__(self, nodes: dict[str, Node[Any]]) -> None:
        self._nodes = nodes
        self._first = First(nodes)

    def __await__(self) -> Generator[Any, None, Selected[Any]]:
        name = yield from self._first.__await__()
        return Selected(name, self._nodes[name])


async def _awaiting(one: Awaitable[T]) -> T:
    return await one
