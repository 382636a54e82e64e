"""The connection to Redis: answers in order, what is said unasked, and every way in which it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from flux.brokers.redis import wire as module
from flux.brokers.redis.address import Address
from flux.brokers.redis.wire import Lost, Refused, Wire
from scripts.servers.redis import RedisServer


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Wire]:
    wire = await Address(url).connect()
    try:
        yield wire
    finally:
        wire.close()


async def test_answers_come_to_whoever_asked(redis_url: str) -> None:
    async with connected(redis_url) as wire:
        answers = [wire.ask("INCRBY", "n", by) for by in range(1, 200)]
        refused = wire.ask("INCRBY", "n", "no number")
        last = wire.ask("GET", "n")
        assert await asyncio.gather(*answers) == [sum(range(by + 1)) for by in range(1, 200)]
        with pytest.raises(Refused, match="ERR value is not an integer"):
            await refused
        assert await last == b"19900"


async def test_who_gives_up_does_not_take_anothers_answer(redis_url: str) -> None:
    async with connected(redis_url) as wire:
        given_up, other = wire.ask("ECHO", "first"), wire.ask("ECHO", "second")
        given_up.cancel()
        assert await other == b"second"


async def test_what_is_said_is_heard_before_the_answer_to_what_was_asked_after_it(redis_url: str) -> None:
    async with connected(redis_url) as listener, connected(redis_url) as speaker:
        heard: list[tuple[bytes, bytes]] = []
        listener.heard = lambda channel, text: heard.append((channel, text))
        await listener.ask("SUBSCRIBE", "news")
        for number in range(50):
            assert await speaker.ask("PUBLISH", "news", number) == 1
            assert await listener.ask("ECHO", "x") == b"x"
            assert heard[-1] == (b"news", b"%d" % number)


async def test_what_was_asked_is_lost_with_the_connection(redis_url: str) -> None:
    async with connected(redis_url) as wire, connected(redis_url) as other:
        ended = asyncio.Event()
        wire.lost = ended.set
        me = await wire.ask("CLIENT", "ID")
        # It waits there for as long as it takes.
        unanswered = wire.ask("BLPOP", "nothing", 0)
        await other.ask("CLIENT", "KILL", "ID", me)
        with pytest.raises(Lost):
            await unanswered
        await ended.wait()
        with pytest.raises(Lost):
            await wire.ask("PING")


async def test_a_silent_server_is_given_up(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER", 0.2)
    async with connected(private_redis.url) as wire:
        private_redis.pause()
        try:
            with pytest.raises(TimeoutError, match="has not answered"):
                await wire.ask("PING")
            assert wire.closed
        finally:
            private_redis.resume()


def test_a_process_that_stood_still_does_not_take_redis_for_silent(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On uvloop timers come before what has arrived."""
    monkeypatch.setattr(module, "ANSWER", 0.05)

    async def stand_still() -> None:
        async with connected(redis_url) as wire:
            for _ in range(5):
                answer = wire.ask("PING")
                time.sleep(0.1)
                assert await answer == b"PONG"

    uvloop.run(stand_still())


async def test_what_is_no_redis_is_not_waited_for() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Lost, match="no Redis"):
            await Address(f"redis://127.0.0.1:{port}").connect()
