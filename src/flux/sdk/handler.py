"""Handlers as they are declared: typed to call and to enqueue, compiled for the engine when it asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import msgspec

from flux.domain.duration import parse_duration
from flux.domain.errors import Invalid
from flux.domain.request import JobRequest
from flux.engine.context import Context
from flux.engine.handler import Handler
from flux.sdk.arguments import Arguments
from flux.sdk.calling import Surrounded, build_call, without_waiting
from flux.sdk.chunk_calling import ChunkCall
from flux.sdk.declaration import Declaration
from flux.sdk.depends import at_once
from flux.sdk.direct import direct_context
from flux.sdk.handle import JobHandle
from flux.sdk.requests import EnqueueOptions, build_request, split_connection, with_payload
from flux.sdk.values import result_decoder

if TYPE_CHECKING:
    from typing import Unpack

    from flux.sdk.app import Flux

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """One job to be, with its arguments and options: what ``flux.enqueue_many`` takes."""

    __slots__ = ("connection", "decoder", "job")

    def __init__(
        self,
        job: JobRequest,
        decoder: msgspec.json.Decoder[Any] | None = None,
        connection: object = None,
    ) -> None:
        self.job = job
        self.decoder = decoder
        self.connection = connection


def common_connection(requests: Iterable[Request[Any]], given: object) -> object:
    """The one connection whose transaction these requests and their enqueue name; None: none. Raises ``Invalid``."""
    for request in requests:
        if request.connection is None or request.connection is given:
            continue
        if given is not None:
            raise Invalid.one(
                "connection", "one enqueue is in one transaction: give one connection for all jobs"
            )
        given = request.connection
    return given


class Enqueueing(Generic[P, R]):
    """What may be enqueued: a handler, or one with ``.options(...)``."""

    def __init__(
        self, flux: Flux, declaration: Declaration, base: JobRequest, connection: object = None
    ) -> None:
        self._flux = flux
        self._declaration = declaration
        self._base = base
        self._connection = connection
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def request(self, *args: P.args, **kwargs: P.kwargs) -> Request[R]:
        """The job to be, for ``flux.enqueue_many``. Raises ``TypeError`` for arguments that a call would refuse,
        ``Invalid`` for values that JSON has no form for."""
        arguments = self._declaration.arguments
        payload = arguments.encode(arguments.bind(args, kwargs))
        return Request(with_payload(self._base, payload), self.result_decoder, self._connection)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Accept one job with these arguments; returns once it is committed, or with ``connection`` once it is in that
        transaction.

        Raises as ``request`` does, and ``Invalid``, ``Conflict``, ``TooDeep``, ``Unavailable``.
        """
        (handle,) = await self._flux.enqueue_many([self.request(*args, **kwargs)])
        return handle

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """``enqueue`` from synchronous code. A running event loop is blocked for as long as a commit takes."""
        (handle,) = self._flux.enqueue_many_sync([self.request(*args, **kwargs)])
        return handle

    @property
    def result_decoder(self) -> msgspec.json.Decoder[Any]:
        """Reads a result by the handler's return annotation."""
        if self._decoder is None:
            hints, chunk = self._declaration.arguments.hints, self._declaration.chunk
            # A chunk handler is annotated with the list of all outcomes.
            self._decoder = result_decoder(Any if chunk else hints.get("return", Any))
        return self._decoder


class JobHandler(Enqueueing[P, R]):
    """A declared handler. ``type`` is the job type, ``function`` what was decorated."""

    def __init__(self, flux: Flux, declaration: Declaration) -> None:
        super().__init__(flux, declaration, declaration.template)
        function = declaration.function
        self.__module__ = function.__module__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.function = function
        self.type = declaration.type
        self._handler: Handler | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.type}>"

    def options(self, **options: Unpack[EnqueueOptions]) -> Enqueueing[P, R]:
        """The same handler with other options for the jobs that are enqueued through it.

        Raises ``Invalid`` for options of the wrong kind; their values are looked at when a job is enqueued.
        """
        connection, others = split_connection(options)
        bound: Enqueueing[P, R] = Enqueueing(
            self._flux, self._declaration, build_request(self.type, others, self._base), connection
        )
        bound._decoder = self.result_decoder
        return bound

    @property
    def template(self) -> JobRequest:
        """The request that its jobs begin with."""
        return self._base

    @property
    def handler(self) -> Handler:
        """What the engine runs. Compiled when first asked for, so that all middleware is known."""
        if self._handler is None:
            self._handler = self._compile()
        return self._handler

    def recompile(self) -> None:
        """Forget what was compiled: middleware was added."""
        self._handler = None

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The payload of these arguments."""
        arguments = self._declaration.arguments
        return arguments.encode(arguments.bind(args, kwargs))

    def _compile(self) -> Handler:
        declaration, flux = self._declaration, self._flux
        arguments = declaration.arguments
        call: Callable[[Context], Any] = _only_in_chunks
        call_chunk = None
        if isinstance(arguments, Arguments):
            call = build_call(
                declaration.function,
                declaration.asynchronous,
                arguments,
                declaration.mode,
                flux.dependencies,
                flux.around.attempts,
                flux.home_loop,
            )
        else:
            call_chunk = ChunkCall(
                declaration.function,
                declaration.asynchronous,
                arguments,
                flux.dependencies,
                flux.around.attempts,
                flux.home_loop,
            )
        timeout = self._base.timeout
        return Handler(
            type=declaration.type,
            call=call,
            mode=declaration.mode,
            no_retry=declaration.no_retry,
            chunk=declaration.chunk,
            chunk_wait=declaration.chunk_wait,
            call_chunk=call_chunk,
            memory=declaration.memory,
            target=declaration.target,
            default_timeout=None if timeout is None else parse_duration(timeout),
            heartbeat_timeout=declaration.heartbeat_timeout,
        )

    def _direct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call as of the plain function; the context and dependencies that are not given are filled in."""
        declaration, arguments = self._declaration, self._declaration.arguments
        if not isinstance(arguments, Arguments) or (arguments.context is None and not arguments.injected):
            return declaration.function(*args, **kwargs)
        if args and isinstance(args[0], Context):
            ctx, args = args[0], args[1:]
        else:
            named = None if arguments.context is None else kwargs.pop(arguments.context, None)
            ctx = direct_context(self.type) if named is None else named
        given = {name: kwargs.pop(name) for name in arguments.injected if name in kwargs}
        found = arguments.defaults | arguments.bind(args, kwargs) | given
        around = Surrounded(
            declaration.function, declaration.asynchronous, arguments, self._flux.dependencies, ()
        )
        if declaration.asynchronous or around.never_waits or arguments.injected.keys() <= given.keys():
            running = around.with_arguments(found, ctx, at_once)
            return running if declaration.asynchronous else without_waiting(running)
        raise RuntimeError(
            f"{self.type} has asynchronous dependencies: give them by name to call it directly"
        )


class AsyncJobHandler(JobHandler[P, R]):
    """A handler declared with ``async def``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Run the function here and now, without a job, middleware or retries."""
        running: Coroutine[Any, Any, R] = self._direct(args, kwargs)
        return running


class PlainJobHandler(JobHandler[P, R]):
    """A handler declared with ``def``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now, in this thread, without a job, middleware or retries."""
        value: R = self._direct(args, kwargs)
        return value


def _only_in_chunks(ctx: Context) -> Any:
    raise RuntimeError(f"{ctx.type} is a chunk handler and takes its jobs by call_chunk")
