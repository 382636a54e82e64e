"""Mistakes in a declaration are found where it stands, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from flux import Context, DeclarationError, Flux, Invalid
from flux.engine.handler import Mode


def at_the_top(numbers: list[int]) -> int:
    return sum(numbers)


async def nothing() -> None: ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": "5x"}, "timeout: '5x' is not a duration"),
        ({"timeout": 0}, "timeout: must be positive"),
        ({"priority": 11}, "priority: must be between 1 and 10"),
        ({"priority": "high"}, "priority: expected `int`, got `str`"),
        ({"max_retries": -1}, "max_retries: must be between 0 and 1000"),
        ({"queue": "no spaces"}, "queue: a queue begins with"),
        ({"name": "no spaces"}, "type: a type begins with"),
        ({"name": 3}, "name must be a text"),
        ({"type": "noop"}, "there is no type="),
        ({"backoff": {"kind": "wild"}}, "backoff.kind: "),
        ({"backoff": ["1s", "never"]}, "backoff: 'never' is not a duration"),
        ({"tags": "one"}, "tags: must be a list of texts"),
        ({"unique": {"bye": 1}}, "unique: object contains unknown field `bye`"),
        ({"expires_in": -3}, "expires_in: must be positive"),
        ({"max_retry": 3}, "max_retry: is not an option"),
        ({"isolation": "thread"}, 'isolation must be "process" or left out'),
        ({"memory": "512MB"}, 'memory can be bounded only with isolation="process"'),
        ({"no_retry": ["ValueError"]}, "no_retry lists exception classes"),
        ({"chunk": 0}, "chunk must be a whole number"),
        ({"chunk_wait": "1s"}, "chunk_wait needs chunk"),
        ({"chunk": 5, "chunk_wait": "-1s"}, "chunk_wait must not be negative"),
        ({"heartbeat_timeout": "soon"}, "heartbeat_timeout: 'soon' is not a duration"),
        ({"heartbeat_timeout": "99ms"}, "heartbeat_timeout must be at least 100ms"),
        ({"heartbeat_timeout": "30s"}, "heartbeat_timeout needs a Context"),
        ({"isolation": "process"}, None),
    ],
)
def test_bad_options(flux: Flux, options: dict[str, Any], message: str | None) -> None:
    if message is None:
        flux.job(**options)(nothing)
        return
    with pytest.raises(DeclarationError) as refused:
        flux.job(**options)(nothing)
    assert message in str(refused.value)
    assert str(refused.value).startswith("@flux.job on nothing: ")


def test_chunk_and_process_exclude_each_other(flux: Flux) -> None:
    with pytest.raises(DeclarationError, match="exclude each other"):
        flux.job(chunk=3, isolation="process")(at_the_top)


def test_two_handlers_of_one_type(flux: Flux) -> None:
    flux.job(name="a")(nothing)
    with pytest.raises(DeclarationError, match=r"the type 'a' is taken by .*nothing; give it a name="):
        flux.job(name="a")(at_the_top)


def test_only_functions_are_handlers(flux: Flux) -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(DeclarationError, match="generator"):
        flux.job(generator)
    with pytest.raises(DeclarationError, match="put on a function"):
        flux.job(print)


def test_a_local_function_cannot_be_isolated(flux: Flux) -> None:
    def local() -> None: ...

    with pytest.raises(DeclarationError, match="top of a module"):
        flux.job(isolation="process")(local)


def test_what_the_engine_gets(flux: Flux) -> None:
    isolated = flux.job(
        isolation="process", memory="512MB", timeout=timedelta(seconds=2), no_retry=ValueError
    )(at_the_top)
    handler = flux.handlers()["at_the_top"]
    assert handler is isolated.handler
    assert handler.mode is Mode.PROCESS
    assert handler.memory == 512 << 20
    assert handler.default_timeout == 2_000_000
    assert handler.no_retry == (ValueError,)
    assert handler.target == f"{__name__}:at_the_top"
    assert flux.job(nothing).handler.mode is Mode.ASYNC
    assert flux.job(name="thread")(at_the_top).handler.mode is Mode.THREAD
    assert isolated([1, 2]) == 3


def test_the_options_of_a_request(flux: Flux) -> None:
    handler = flux.job(queue="a", priority=3, timeout="1m", tags=["x"], expires_in="1h")(nothing)
    assert handler.request().job.queue == "a"
    job = handler.options(priority=9, delay=timedelta(minutes=1), unique=True).request().job
    assert (job.queue, job.priority, job.delay, job.timeout, job.tags) == ("a", 9, "1m", "1m", ("x",))
    assert job.unique is not None
    # A later word replaces what excludes it.
    job = handler.options(expires_at="2030-01-01T00:00:00Z").request().job
    assert (job.expires_at, job.expires_in) == ("2030-01-01T00:00:00Z", None)
    with pytest.raises(Invalid, match="prio: is not an option"):
        handler.options(prio=3)  # type: ignore[call-arg]  # the point
    connection = object()
    assert handler.options(connection=connection).request().connection is connection
    with pytest.raises(DeclarationError, match="connection: belongs to an enqueue"):
        flux.job(connection=connection)(nothing)


def test_schedules(flux: Flux) -> None:
    @flux.schedule(every="15m", name="often", to="b")
    @flux.schedule("0 9 * * *", timezone="Europe/Berlin", payload={"to": "a"}, overlap="skip", jitter="10s")
    @flux.job(queue="q", max_retries=1)
    async def report(ctx: Context, to: str) -> None: ...

    first, second = flux.schedules()
    assert (first.name, first.cron, first.timezone, first.overlap) == (
        "report",
        "0 9 * * *",
        "Europe/Berlin",
        "skip",
    )
    assert (first.type, first.queue, first.max_retries, bytes(first.payload)) == (
        "report",
        "q",
        1,
        b'{"to":"a"}',
    )
    assert (second.name, second.every, bytes(second.payload)) == ("often", "15m", b'{"to":"b"}')

    for make, message in [
        (lambda: flux.schedule("0 9 * *", to="a"), "cron"),
        (lambda: flux.schedule(to="a"), "exactly one of cron, every and at"),
        (lambda: flux.schedule("@daily", timezone="Mars/Base", to="a"), "timezone"),
        (lambda: flux.schedule("@daily"), "to must be given"),
        (lambda: flux.schedule("@daily", to="a", subject="b"), "subject is not an argument"),
        (lambda: flux.schedule("@daily", to="a"), "there is a schedule 'report' already"),
        (lambda: flux.schedule("@daily", to="a", overlap="maybe", name="x"), "overlap"),
    ]:
        with pytest.raises(DeclarationError, match=message):
            make()(report)
    with pytest.raises(DeclarationError, match="stands above"):
        flux.schedule("@daily")(nothing)  # type: ignore[type-var]  # the point


def test_urls() -> None:
    with pytest.raises(ValueError, match="token"):
        Flux("sqlite:///x.db", token="t")
    with pytest.raises(ValueError, match="broker"):
        Flux("http://x", "redis://x")
