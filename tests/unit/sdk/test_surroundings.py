"""Dependencies and middleware around an attempt."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from flux import BadArguments, CallNext, Context, DeclarationError, Depends, Enqueue, Flux
from tests.unit.sdk.conftest import attempt, context_of

log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


def get_engine() -> Iterator[str]:
    log.append("engine opened")
    yield "engine"
    log.append("engine closed")


async def get_session(engine: Annotated[str, Depends(get_engine)], ctx: Context) -> AsyncIterator[str]:
    log.append("session opened")
    try:
        yield f"session on {engine} for {ctx.job_id}"
    except BaseException as error:
        log.append(f"rolled back after {type(error).__name__}")
        raise
    finally:
        log.append("session closed")


class Clock:
    def __init__(self, engine: Annotated[str, Depends(get_engine)]) -> None:
        self.engine = engine


def declare(flux: Flux) -> Any:
    @flux.job
    async def use(
        seconds: float,
        session: Annotated[str, Depends(get_session)],
        engine: Annotated[str, Depends(get_engine)],
        clock: Annotated[Clock, Depends(Clock)],
    ) -> Any:
        if seconds < 0:
            raise KeyError(seconds)
        await asyncio.sleep(seconds)
        log.append("ran")
        return session, engine, clock.engine

    return use


async def test_made_once_an_attempt_and_torn_down_in_reverse(flux: Flux) -> None:
    use = declare(flux)
    assert await attempt(use, {"seconds": 0}) == ("session on engine for job-1", "engine", "engine")
    assert log == ["engine opened", "session opened", "ran", "session closed", "engine closed"]


async def test_torn_down_after_a_failure(flux: Flux) -> None:
    with pytest.raises(KeyError):
        await attempt(declare(flux), {"seconds": -1})
    assert log[2:] == ["rolled back after KeyError", "session closed"]


async def test_torn_down_after_a_cancellation(flux: Flux) -> None:
    task = asyncio.ensure_future(attempt(declare(flux), {"seconds": 3600}))
    while "session opened" not in log:  # noqa: ASYNC110 (a list has no event)
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log[2:] == ["rolled back after CancelledError", "session closed"]


async def test_bad_arguments_come_before_dependencies(flux: Flux) -> None:
    with pytest.raises(BadArguments, match="session: is not an argument"):
        await attempt(declare(flux), {"seconds": 1, "session": "mine"})
    assert log == []


async def test_a_dependency_cannot_hide_a_failure(flux: Flux) -> None:
    def swallow() -> Iterator[int]:
        with contextlib.suppress(ValueError):
            yield 1

    @flux.job
    async def use(one: Annotated[int, Depends(swallow)]) -> None:
        raise ValueError("seen")

    with pytest.raises(ValueError, match="seen"):
        await attempt(use)


async def test_overrides(flux: Flux) -> None:
    async def fake(ctx: Context) -> str:
        return f"fake for {ctx.job_id}"

    use = declare(flux)
    flux.overrides[get_session] = fake
    assert (await attempt(use, {"seconds": 0}))[0] == "fake for job-1"
    del flux.overrides[get_session]
    assert (await attempt(use, {"seconds": 0}))[0].startswith("session")


async def test_a_direct_call_fills_what_is_not_given(flux: Flux) -> None:
    use = declare(flux)
    assert (await use(0))[0] == "session on engine for direct"
    assert (await use(seconds=0, session="mine", clock=Clock("c")))[0] == "mine"


async def test_worker_scope_is_made_once_and_closed_with_the_worker(flux: Flux) -> None:
    async def pool() -> AsyncIterator[object]:
        log.append("opened")
        await asyncio.sleep(0.01)
        yield object()
        log.append("closed")

    @flux.job
    async def use(pool: Annotated[object, Depends(pool, scope="worker")]) -> object:
        return pool

    one, two = await asyncio.gather(attempt(use), attempt(use))
    assert one is two
    assert log == ["opened"]
    await flux.dependencies.worker_scope().close()
    assert log == ["opened", "closed"]


async def test_a_worker_scope_that_failed_is_tried_again(flux: Flux) -> None:
    async def pool() -> str:
        log.append("asked")
        if len(log) == 1:
            raise OSError("away")
        return "pool"

    @flux.job
    async def use(pool: Annotated[str, Depends(pool, scope="worker")]) -> str:
        return pool

    with pytest.raises(OSError, match="away"):
        await attempt(use)
    assert await attempt(use) == "pool"


def test_mistakes_are_found_where_declared(flux: Flux) -> None:
    def needs(name: str) -> None: ...
    def attempt_wide() -> None: ...
    def worker_wide(a: Annotated[None, Depends(attempt_wide)]) -> None: ...
    def with_context(ctx: Context) -> None: ...

    async def one(a: Annotated[None, Depends(needs)]) -> None: ...
    async def two(a: Annotated[None, Depends(worker_wide, scope="worker")]) -> None: ...
    async def three(a: Annotated[None, Depends(with_context, scope="worker")]) -> None: ...
    async def four(items: list[int], a: Annotated[None, Depends(with_context)]) -> None: ...

    for function, options, message in [
        (one, {}, "nothing fills its parameter 'name'"),
        (two, {}, "lives for one attempt only"),
        (three, {}, "cannot take the Context"),
        (four, {"chunk": 3}, "a chunk has many"),
    ]:
        with pytest.raises(DeclarationError, match=message):
            flux.job(**options)(function)  # type: ignore[call-overload]  # made up of pieces
    with pytest.raises(DeclarationError, match="scope must be"):
        Depends(needs, scope="request")  # type: ignore[arg-type]  # the point


# --- synchronous handlers -----------------------------------------------------------------------------------------


async def test_a_synchronous_handler_keeps_to_its_thread(flux: Flux) -> None:
    def thread() -> Iterator[int]:
        log.append("opened")
        yield threading.get_ident()
        log.append(f"closed {threading.get_ident()}")

    async def asynchronous(inner: Annotated[int, Depends(thread)]) -> int:
        return threading.get_ident()

    @flux.job
    def plain(a: Annotated[int, Depends(thread)]) -> tuple[int, int]:
        return a, threading.get_ident()

    @flux.job
    def mixed(
        a: Annotated[int, Depends(thread)], b: Annotated[int, Depends(asynchronous)]
    ) -> tuple[int, int, int]:
        return a, b, threading.get_ident()

    made, ran = await asyncio.to_thread(plain.handler.call, context_of(plain))
    assert made == ran != threading.get_ident()
    with pytest.raises(RuntimeError, match="event loop"):
        await asyncio.to_thread(mixed.handler.call, context_of(mixed))
    log.clear()
    with flux.at_home():
        made, on_loop, ran = await asyncio.to_thread(mixed.handler.call, context_of(mixed))
    assert made == ran != on_loop == threading.get_ident()
    assert log == ["opened", f"closed {ran}"]


async def test_a_failure_in_a_thread_comes_out_of_it(flux: Flux) -> None:
    @flux.middleware
    async def watch(ctx: Context, call_next: CallNext) -> Any:
        try:
            return await call_next(ctx)
        except KeyError:
            log.append("seen")
            raise

    @flux.job
    def plain() -> None:
        raise KeyError("x")

    with flux.at_home(), pytest.raises(KeyError):
        await asyncio.to_thread(plain.handler.call, context_of(plain))
    assert log == ["seen"]


# --- middleware ---------------------------------------------------------------------------------------------------


async def test_middleware_is_around_every_attempt_the_first_outermost(flux: Flux) -> None:
    @flux.job
    async def double(n: int) -> int:
        log.append("handler")
        return 2 * n

    before = double.handler

    @flux.middleware
    async def outer(ctx: Context, call_next: CallNext) -> Any:
        log.append(f"outer {ctx.type}")
        return await call_next(ctx) + 1

    @flux.middleware
    async def inner(ctx: Context, call_next: CallNext) -> Any:
        log.append("inner")
        return await call_next(ctx) * 10

    assert double.handler is not before
    assert await attempt(double, {"n": 2}) == 41
    assert log == ["outer double", "inner", "handler"]
    with pytest.raises(BadArguments):
        await attempt(double, {"n": "x"})


def test_what_a_middleware_is_around_has_to_be_an_attempt_or_an_enqueue(flux: Flux) -> None:
    async def of_nothing() -> None: ...
    async def of_a_number(call: int, call_next: CallNext) -> None: ...
    async def of_more(call: Context | int, call_next: CallNext) -> None: ...

    for function in (of_nothing, of_a_number, of_more):
        with pytest.raises(DeclarationError, match=f"on .*{function.__name__}"):
            flux.middleware(function)  # type: ignore[type-var]  # the point
    assert flux.around.attempts == flux.around.enqueues == []


def test_the_first_parameter_says_what_a_middleware_is_around(flux: Flux) -> None:
    async def attempts(call: Annotated[Context, "mine"], call_next: CallNext) -> Any: ...
    async def enqueues(call: Enqueue, call_next: CallNext) -> Any: ...
    async def both(call: Context | Enqueue, call_next: CallNext) -> Any: ...
    async def plain(call, call_next): ...  # type: ignore[no-untyped-def]  # the point

    class Tracing:
        async def __call__(self, call: Context, call_next: CallNext) -> Any: ...
        async def method(self, call: Enqueue, call_next: CallNext) -> Any: ...

    tracing = Tracing()
    for function in (attempts, enqueues, both, plain, tracing, tracing.method):
        flux.middleware(function)
    assert flux.around.attempts == [attempts, both, plain, tracing]
    assert flux.around.enqueues == [enqueues, both, plain, tracing.method]


def test_without_surroundings_a_handlers_own_coroutine_is_what_the_engine_awaits(flux: Flux) -> None:
    @flux.job
    async def bare() -> int:
        return 1

    running = bare.handler.call(context_of(bare))
    assert running.cr_code is bare.function.__code__
    running.close()


# --- chunks -------------------------------------------------------------------------------------------------------


async def test_a_chunk_gets_items_and_answers_for_each(flux: Flux) -> None:
    @flux.job(chunk=10)
    async def index(
        contexts: list[Context], items: list[int], engine: Any = Depends(get_engine)
    ) -> list[Any]:
        assert len(contexts) == len(items)
        return [f"{item} on {engine}" if item else ValueError("zero") for item in items]

    chunk = [context_of(index, payload) for payload in (1, "x", 0)]
    assert index.handler.call_chunk is not None
    first, second, third = await index.handler.call_chunk(chunk)
    assert first == "1 on engine"
    assert isinstance(second, BadArguments)
    assert isinstance(third, ValueError)
    assert log == ["engine opened", "engine closed"]
    assert bytes(index.request(5).job.payload) == b"5"


async def test_a_chunk_handler_in_a_thread(flux: Flux) -> None:
    @flux.job(chunk=10)
    def index(items: list[int]) -> None:
        log.append(str(items))

    assert index.handler.call_chunk is not None
    assert index.handler.call_chunk([context_of(index, 1), context_of(index, 2)]) == [None, None]
    assert log == ["[1, 2]"]


def test_a_chunk_handler_needs_a_list(flux: Flux) -> None:
    async def one(item: int) -> None: ...
    async def two(a: list[int], b: list[int]) -> None: ...

    for function in (one, two):
        with pytest.raises(DeclarationError, match="chunk handler"):
            flux.job(chunk=3)(function)  # type: ignore[call-overload]  # the point
