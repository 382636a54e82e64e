"""What is declared on an application: handlers, schedules, middleware, hooks, overrides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast, overload

from flux.engine.context import Context
from flux.engine.handler import Handler
from flux.engine.schedule_request import ScheduleRequest
from flux.sdk.declaration import Declaration
from flux.sdk.declared_schedules import ScheduleOptions, declare_schedule
from flux.sdk.depends import Dependencies
from flux.sdk.errors import DeclarationError
from flux.sdk.handler import AsyncJobHandler, JobHandler, PlainJobHandler
from flux.sdk.middleware import Around, AttemptMiddleware, EnqueueMiddleware
from flux.sdk.requests import Duration, JobOptions

if TYPE_CHECKING:
    from typing import Unpack

    from flux.sdk.app import Flux

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H", bound=JobHandler[..., Any])
Hook = Callable[[], Awaitable[None] | None]
HookT = TypeVar("HookT", bound=Hook)
MiddlewareT = TypeVar("MiddlewareT", bound=AttemptMiddleware | EnqueueMiddleware)


class JobDecorator:
    """What ``@flux.job(...)`` puts on a function."""

    def __init__(self, declare: Callable[[Callable[..., Any]], JobHandler[..., Any]]) -> None:
        self._declare = declare

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine is an R too; the order decides
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncJobHandler[P, R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine is an R too; the order decides
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncJobHandler[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> PlainJobHandler[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> PlainJobHandler[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> JobHandler[..., Any]:
        """Declare the function as the handler of its type. Raises ``DeclarationError``."""
        return self._declare(function)


class ChunkDecorator:
    """What ``@flux.job(chunk=...)`` puts on a function: jobs are enqueued with one item, ``handler.enqueue(item)``."""

    def __init__(self, declare: Callable[[Callable[..., Any]], JobHandler[..., Any]]) -> None:
        self._declare = declare

    @overload
    def __call__(
        self, function: Callable[[list[Context], list[T]], Coroutine[Any, Any, list[R] | None]], /
    ) -> JobHandler[[T], R]: ...
    @overload
    def __call__(
        self, function: Callable[[list[T]], Coroutine[Any, Any, list[R] | None]], /
    ) -> JobHandler[[T], R]: ...
    @overload
    def __call__(
        self, function: Callable[[list[Context], list[T]], list[R] | None], /
    ) -> JobHandler[[T], R]: ...
    @overload
    def __call__(self, function: Callable[[list[T]], list[R] | None], /) -> JobHandler[[T], R]: ...
    def __call__(self, function: Callable[..., Any], /) -> JobHandler[..., Any]:
        """Declare the function as the handler of its type. Raises ``DeclarationError``."""
        return self._declare(function)


class Declarations:
    """The part of ``Flux`` that declares."""

    def __init__(self) -> None:
        self.dependencies = Dependencies()
        self.around = Around()
        self.startup_hooks: list[Hook] = []
        self.shutdown_hooks: list[Hook] = []
        self._declared: dict[str, JobHandler[..., Any]] = {}
        self._schedules: dict[str, ScheduleRequest] = {}

    # --- handlers ---

    @overload
    def job(  # type: ignore[overload-overlap]  # a coroutine is an R too; the order decides
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> AsyncJobHandler[P, R]: ...
    @overload
    def job(  # type: ignore[overload-overlap]  # a coroutine is an R too; the order decides
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncJobHandler[P, R]: ...
    @overload
    def job(self, function: Callable[Concatenate[Context, P], R], /) -> PlainJobHandler[P, R]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> PlainJobHandler[P, R]: ...
    @overload
    def job(
        self, *, chunk: int, chunk_wait: Duration = "100ms", **options: Unpack[JobOptions]
    ) -> ChunkDecorator: ...
    @overload
    def job(self, **options: Unpack[JobOptions]) -> JobDecorator: ...
    def job(self, function: Any = None, **options: Any) -> Any:
        """Declare a handler: ``@flux.job`` or ``@flux.job(queue="email", max_retries=5, timeout="30s")``.

        The parameters of the function are the arguments of its jobs, read from the payload by their annotations; one
        annotated ``Context`` gets the attempt, those with ``Depends`` their dependency. A ``def`` runs in a thread, an
        ``async def`` on the event loop, with ``isolation="process"`` either in a child process. For type checkers the
        ``Context`` has to come first, and a first parameter annotated ``Any`` is taken for it: make that keyword-only.

        ``chunk=100`` hands up to 100 jobs to one call, after ``chunk_wait`` at the latest (see ``flux.sdk.chunk``).
        Raises ``DeclarationError`` for every mistake that can be seen now.
        """

        def declare(function: Callable[..., Any]) -> JobHandler[..., Any]:
            declaration = Declaration(function, options, self.dependencies)
            other = self._declared.get(declaration.type)
            if other is not None:
                raise declaration.wrong(
                    f"the type {declaration.type!r} is taken by {other.__module__}.{other.__qualname__}; "
                    "give it a name="
                )
            kind = AsyncJobHandler if declaration.asynchronous else PlainJobHandler
            handler: JobHandler[..., Any] = kind(cast("Flux", self), declaration)
            self._declared[declaration.type] = handler
            return handler

        if function is not None:
            return declare(function)
        return ChunkDecorator(declare) if options.get("chunk") is not None else JobDecorator(declare)

    def handlers(self) -> Mapping[str, Handler]:
        """All handlers by type, compiled: what a ``Worker`` is given."""
        return {name: handler.handler for name, handler in self._declared.items()}

    def job_handler(self, type: str) -> JobHandler[..., Any] | None:
        """The handler declared for a type."""
        return self._declared.get(type)

    # --- schedules ---

    def schedule(
        self,
        cron: str | None = None,
        /,
        *,
        every: Duration | None = None,
        payload: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Callable[[H], H]:
        """Run a handler again and again: ``@flux.schedule("0 9 * * *", timezone="Europe/Berlin", region="eu")``.

        Stands above ``@flux.job``. One of a cron expression, ``every="15m"`` and ``at=`` says when;
        ``ScheduleOptions`` lists the other options; every other keyword is an argument of the handler (or give them
        as ``payload={...}``). The stored schedule is made the same as the declared one when a worker starts; a person's
        pause of it stays. Raises ``DeclarationError``.
        """
        known = {name: options.pop(name) for name in list(options) if name in ScheduleOptions.__annotations__}
        if every is not None:
            known["every"] = every

        def declare(handler: H) -> H:
            if not isinstance(handler, JobHandler):
                raise DeclarationError("@flux.schedule stands above @flux.job, whose handler it runs")
            try:
                arguments = handler.bind((), {**(payload or {}), **options})
            except (TypeError, ValueError) as error:
                raise DeclarationError(f"@flux.schedule on {handler.type}: {error}") from None
            request = declare_schedule(handler.template, arguments, cron, known)
            if request.name in self._schedules:
                raise DeclarationError(
                    f"@flux.schedule on {handler.type}: there is a schedule {request.name!r} already; "
                    "give this one a name="
                )
            self._schedules[request.name] = request
            return handler

        return declare

    def schedules(self) -> Sequence[ScheduleRequest]:
        """All declared schedules, as ``ScheduleService.reconcile`` takes them."""
        return list(self._schedules.values())

    # --- around attempts, enqueues and workers ---

    def middleware(self, function: MiddlewareT, /) -> MiddlewareT:
        """Wrap every attempt and every enqueue: ``async def m(call, call_next): return await call_next(call)``.

        An attempt (one of a chunk too) is a ``Context``, an enqueue (one transaction, however many jobs) an
        ``Enqueue``. The annotation of the first parameter says around what: ``Context``, ``Enqueue`` or, as without
        one, ``Context | Enqueue``. The first one declared is outermost. Raises ``DeclarationError``.
        """
        self.around.add(function)
        for handler in self._declared.values():
            handler.recompile()
        return function

    def on_startup(self, function: HookT, /) -> HookT:
        """Run before a worker claims its first job; asynchronous or not. An exception stops the worker."""
        self.startup_hooks.append(function)
        return function

    def on_shutdown(self, function: HookT, /) -> HookT:
        """Run after a worker's last job, the last declared first."""
        self.shutdown_hooks.append(function)
        return function

    @property
    def overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """``flux.overrides[get_session] = fake_session``: a stand-in for a dependency, for tests."""
        return self.dependencies.overrides
