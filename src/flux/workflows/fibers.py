"""The order in which a durable function's own code runs: no event loop, no clock, the same every time.

A fiber is a coroutine that is run until it awaits a node that has not ended. Whoever waits for a node goes on, in the
order in which they came, once it ends. What ends nodes from outside is the replay's business.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flux.workflows.errors import ForeignAwait

T = TypeVar("T")


class Node(Generic[T]):
    """Something that ends once, with a value or an error."""

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Set it going, unless that was done."""

    def end(self, value: Any = None, error: BaseException | None = None) -> None:
        """End it, and let those go on who wait for it. What has ended stays as it is."""
        if self.done:
            return
        self.done, self._value, self._error = True, value, error
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def then(self, go_on: Callable[[], None]) -> None:
        """Call this when it has ended; at once if it has."""
        if self.done:
            go_on()
        else:
            self._waiting.append(go_on)

    @property
    def error(self) -> BaseException | None:
        """Why it failed."""
        return self._error

    def result(self) -> T:
        """The value, or the error raised."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def __await__(self) -> Generator[Node[Any], None, T]:
        self.begin()
        while not self.done:
            yield self
        return self.result()


class Fiber(Node[T]):
    """A coroutine on its way; it ends as that does."""

    def __init__(self, fibers: Fibers, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self._fibers = fibers
        self._coroutine = coroutine
        self._begun = False
        self._thrown: BaseException | None = None

    def begin(self) -> None:
        """Put it in line."""
        if not self._begun:
            self._begun = True
            self._fibers.ready.append(self)

    def throw(self, error: BaseException) -> None:
        """Raise this where it waits."""
        if self.done:
            return
        self._thrown = error
        self._fibers.ready.append(self)

    def step(self) -> None:
        """Run until it waits or ends. Once too often does no harm: what it waits for has not ended."""
        if self.done:
            return
        error, self._thrown = self._thrown, None
        while True:
            try:
                node = self._coroutine.throw(error) if error is not None else self._coroutine.send(None)
            except StopIteration as stop:
                return self.end(stop.value)
            except Exception as raised:
                return self.end(error=raised)
            except BaseException as raised:
                # A cancel, or the replay's own end, which nothing inside may hold up.
                self.end(error=raised)
                if self._fibers.is_fatal(raised):
                    raise
                return None
            if isinstance(node, Node):
                return node.then(self._go_on)
            what = "something of an event loop" if node is None else type(node).__name__
            error = ForeignAwait(
                "a durable function may only await its context's calls (ctx.run, ctx.sleep, ctx.gather …), which are "
                f"recorded, and not {what}: after a crash nobody would know what came of it"
            )

    def close(self) -> None:
        """Leave it where it stands. Its ``finally`` clauses run, as Python has it, and can await nothing."""
        with suppress(BaseException):
            self._coroutine.close()

    def _go_on(self) -> None:
        self._fibers.ready.append(self)


class Fibers:
    """All fibers of a run. ``is_fatal`` tells what must end the replay and not only one fiber."""

    def __init__(self, is_fatal: Callable[[BaseException], bool]) -> None:
        self.ready: deque[Fiber[Any]] = deque()
        self.is_fatal = is_fatal
        self._all: list[Fiber[Any]] = []

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Fiber[T]:
        """A fiber for this coroutine, not begun."""
        fiber = Fiber(self, coroutine)
        self._all.append(fiber)
        return fiber

    def run(self) -> None:
        """Until all of them wait or have ended."""
        while self.ready:
            self.ready.popleft().step()

    def close(self) -> None:
        """Leave everything where it stands."""
        for fiber in reversed(self._all):
            fiber.close()


class All(Node[list[Any]]):
    """Ends when all of these have, with their values in order; or with the first that fails."""

    def __init__(self, nodes: list[Node[Any]], *, errors_too: bool = False) -> None:
        super().__init__()
        self._nodes = nodes
        self._left = len(nodes)
        self._errors_too = errors_too
        self._begun = False

    def begin(self) -> None:
        """Set all of them going, in order."""
        if self._begun:
            return
        self._begun = True
        for node in self._nodes:
            node.begin()
        for node in self._nodes:
            node.then(lambda node=node: self._ended(node))  # type: ignore[misc]
        if not self._nodes:
            self.end([])

    def _ended(self, node: Node[Any]) -> None:
        self._left -= 1
        if node.error is not None and not self._errors_too:
            self.end(error=node.error)
        elif self._left == 0:
            self.end([one.error if one.error is not None else one.result() for one in self._nodes])


class First(Node[str]):
    """Ends when the first of these does, with its name."""

    def __init__(self, nodes: dict[str, Node[Any]]) -> None:
        super().__init__()
        self._nodes = nodes
        self._begun = False

    def begin(self) -> None:
        """Set all of them going, in order."""
        if self._begun:
            return
        self._begun = True
        for node in self._nodes.values():
            node.begin()
        for name, node in self._nodes.items():
            node.then(lambda name=name: self.end(name))  # type: ignore[misc]
