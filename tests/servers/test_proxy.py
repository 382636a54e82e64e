"""What the proxy does to connections."""

from __future__ import annotations

import asyncio
import socket

import asyncpg
import pytest
import redis

from scripts.servers.processes import is_alive, until
from tests.servers.private import Servers

LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


def test_it_cuts_and_lets_new_connections_through(servers: Servers, redis_url: str) -> None:
    proxy = servers.proxy(redis_url)
    with redis.Redis.from_url(proxy.url, retry=None) as client, client.pubsub() as channel:
        channel.subscribe("channel")
        assert channel.get_message(timeout=10)
        assert proxy.connections == 1
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            channel.connection.read_response()
        assert client.ping()


def test_it_refuses_until_it_is_mended(servers: Servers, redis_url: str) -> None:
    proxy = servers.proxy(redis_url)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    proxy.resume()
    with redis.Redis.from_url(proxy.url) as client:
        assert client.ping()


async def test_while_paused_nothing_comes_through_and_then_everything(
    servers: Servers, empty_database_url: str
) -> None:
    proxy = servers.proxy(empty_database_url)
    connection = await asyncpg.connect(proxy.url)
    proxy.pause()
    question = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait({question}, timeout=0.1)
    assert not done
    proxy.resume()
    assert await question == 1
    await connection.close()


async def test_what_it_has_forgotten_stays_silent_and_what_is_new_does_not(
    servers: Servers, empty_database_url: str
) -> None:
    proxy = servers.proxy(empty_database_url)
    old = await asyncpg.connect(proxy.url)
    backend = await old.fetchval("SELECT pg_backend_pid()")
    proxy.forget()
    question = asyncio.create_task(old.fetchval("SELECT 1"))
    new = await asyncpg.connect(proxy.url)
    assert await new.fetchval("SELECT 1") == 1
    assert not question.done()
    question.cancel()
    old.terminate()
    # The server has not heard of its end either.
    assert await new.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", backend) == 1
    await new.close()


async def test_it_delays_both_directions(servers: Servers, empty_database_url: str) -> None:
    proxy = servers.proxy(empty_database_url)
    connection = await asyncpg.connect(proxy.url)
    proxy.delay(0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await connection.execute("SELECT 1")
    assert loop.time() - began >= 0.1
    await connection.close()


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_commit_whose_answer_is_lost_counts_only_when_it_was_delivered(
    servers: Servers, empty_database_url: str, delivered: bool
) -> None:
    proxy = servers.proxy(empty_database_url)
    direct = await asyncpg.connect(empty_database_url)
    await direct.execute("CREATE TABLE kept (id int)")
    connection = await asyncpg.connect(proxy.url)
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("INSERT INTO kept VALUES (1)")
    proxy.cut_at(b"COMMIT", delivered=delivered)
    with pytest.raises(LOST):
        await transaction.commit()
    assert until(lambda: not is_alive(backend))
    assert await direct.fetchval("SELECT count(*) FROM kept") == int(delivered)
    await direct.close()


async def test_it_cuts_in_the_middle_of_an_answer(servers: Servers, empty_database_url: str) -> None:
    proxy = servers.proxy(empty_database_url)
    connection = await asyncpg.connect(proxy.url)
    proxy.cut_after(100_000, "client")
    with pytest.raises(LOST):
        await connection.fetchval("SELECT repeat('x', 1000000)")
    again = await asyncpg.connect(proxy.url)
    assert len(await again.fetchval("SELECT repeat('x', 1000000)")) == 1_000_000
    await again.close()
