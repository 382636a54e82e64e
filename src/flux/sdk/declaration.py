"""What ``@flux.job(...)`` says, checked where it is said."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flux.domain.duration import MILLISECOND, format_duration, parse_duration
from flux.domain.errors import Invalid
from flux.domain.request import JobRequest
from flux.domain.size import parse_size
from flux.engine.handler import Mode
from flux.engine.targets import main_module
from flux.sdk.arguments import Arguments
from flux.sdk.chunk import ChunkArguments
from flux.sdk.depends import Dependencies
from flux.sdk.errors import DeclarationError
from flux.sdk.requests import build_request, check_request

MOST_IN_A_CHUNK = 10_000
SHORTEST_SILENCE = 100 * MILLISECOND
_OWN = ("name", "isolation", "memory", "no_retry", "chunk", "chunk_wait", "heartbeat_timeout")


class Declaration:
    """A handler as it was declared: the function, its parameters, where it runs, and what its jobs begin with."""

    __slots__ = (
        "arguments", "asynchronous", "chunk", "chunk_wait", "function", "heartbeat_timeout", "memory", "mode",
        "no_retry", "template", "type", "what",
    )  # fmt: skip

    def __init__(
        self,
        function: Callable[..., Any],
        options: Mapping[str, Any],
        dependencies: Dependencies,
    ) -> None:
        if not inspect.isfunction(function):
            raise DeclarationError(f"@flux.job is put on a function (def or async def), not on {function!r}")
        self.function = function
        self.what = function.__name__
        self.asynchronous = inspect.iscoroutinefunction(function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise self.wrong("a generator cannot be a handler; return the values, or make a job of each")
        if "type" in options:
            raise self.wrong("the job type is the function's name, or what name= says; there is no type=")
        name = options.get("name")
        self.type: str = function.__name__ if name is None else name
        if not isinstance(self.type, str):
            raise self.wrong(f"name must be a text, not {self.type!r}")
        self.template = self._template({key: value for key, value in options.items() if key not in _OWN})
        self.mode = self._mode(options.get("isolation"))
        self.memory = self._memory(options.get("memory"))
        self.no_retry = self._no_retry(options.get("no_retry", ()))
        self.chunk, self.chunk_wait = self._chunk(options.get("chunk"), options.get("chunk_wait"))
        self.arguments: Arguments | ChunkArguments
        if self.chunk:
            self.arguments = ChunkArguments(function, self.what)
        else:
            self.arguments = Arguments(function, self.what)
        for injected in self.arguments.injected.values():
            dependencies.check(injected, self.what)
            if self.chunk and dependencies.wants_context(injected):
                raise self.wrong(f"{injected!r} takes the Context, and a chunk has many")
        self.heartbeat_timeout = self._heartbeat_timeout(options.get("heartbeat_timeout"), dependencies)

    def wrong(self, message: str) -> DeclarationError:
        """The error that names this handler."""
        return DeclarationError(f"@flux.job on {self.what}: {message}")

    @property
    def target(self) -> str | None:
        """ "module:attribute" by which a child process finds the handler; None for a local function."""
        qualname = self.function.__qualname__
        if "<locals>" in qualname:
            return None
        return f"{self.function.__module__}:{qualname}"

    def _template(self, options: dict[str, Any]) -> JobRequest:
        try:
            request = build_request(self.type, options)
            check_request(request)
        except Invalid as refused:
            raise self.wrong("; ".join(f"{e.field}: {e.message}" for e in refused.errors)) from None
        return request

    def _mode(self, isolation: object) -> Mode:
        if isolation is None:
            return Mode.ASYNC if self.asynchronous else Mode.THREAD
        if isolation != "process":
            raise self.wrong(f'isolation must be "process" or left out, not {isolation!r}')
        if self.target is None:
            raise self.wrong(
                'isolation="process" needs a function at the top of a module, where the child process finds it; '
                f"{self.function.__qualname__} is local"
            )
        if self.function.__module__ == "__main__" and main_module() == (None, None):
            raise self.wrong(
                'isolation="process" needs a function in a file, where the child process finds it'
            )
        return Mode.PROCESS

    def _memory(self, memory: Any) -> int | None:
        if memory is None:
            return None
        if self.mode is not Mode.PROCESS:
            raise self.wrong('memory can be bounded only with isolation="process"')
        try:
            return parse_size(memory)
        except ValueError as error:
            raise self.wrong(f"memory: {error}") from None

    def _no_retry(self, classes: Any) -> tuple[type[BaseException], ...]:
        if isinstance(classes, type):
            classes = (classes,)
        try:
            found = tuple(classes)
        except TypeError:
            found = (classes,)
        for one in found:
            if not (isinstance(one, type) and issubclass(one, BaseException)):
                raise self.wrong(f"no_retry lists exception classes, and {one!r} is none")
        return found

    def _heartbeat_timeout(self, timeout: Any, dependencies: Dependencies) -> int | None:
        if timeout is None:
            return None
        try:
            parsed = parse_duration(timeout)
        except ValueError as error:
            raise self.wrong(f"heartbeat_timeout: {error}") from None
        if parsed < SHORTEST_SILENCE:
            raise self.wrong(f"heartbeat_timeout must be at least {format_duration(SHORTEST_SILENCE)}")
        arguments = self.arguments
        takes = arguments.takes_contexts if isinstance(arguments, ChunkArguments) else bool(arguments.context)
        if not takes and not any(map(dependencies.wants_context, arguments.injected.values())):
            raise self.wrong("heartbeat_timeout needs a Context, by which the handler says its heartbeats")
        return parsed

    def _chunk(self, chunk: Any, wait: Any) -> tuple[int, int]:
        if chunk is None:
            if wait is not None:
                raise self.wrong("chunk_wait needs chunk")
            return 0, 0
        if self.mode is Mode.PROCESS:
            raise self.wrong('chunk and isolation="process" exclude each other')
        if isinstance(chunk, bool) or not isinstance(chunk, int) or not 1 <= chunk <= MOST_IN_A_CHUNK:
            raise self.wrong(f"chunk must be a whole number from 1 to {MOST_IN_A_CHUNK:,}, not {chunk!r}")
        try:
            waits = parse_duration("100ms" if wait is None else wait)
        except ValueError as error:
            raise self.wrong(f"chunk_wait: {error}") from None
        if waits < 0:
            raise self.wrong("chunk_wait must not be negative")
        return chunk, waits
