"""What tests can do to servers of their own."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
import redis

from scripts.servers.postgres import PostgresServer
from scripts.servers.redis import RedisServer
from tests.servers.asking import ask
from tests.servers.private import Servers


async def test_what_postgres_committed_outlives_every_way_to_stop_it(
    private_postgres: PostgresServer,
) -> None:
    url = private_postgres.url
    assert await ask(url, "SHOW fsync") == "on"
    await ask(url, "CREATE TABLE kept (id int)")
    for number, end in enumerate(
        (private_postgres.stop, lambda: private_postgres.stop("immediate"), private_postgres.kill), 1
    ):
        await ask(url, f"INSERT INTO kept VALUES ({number})")
        end()
        assert not private_postgres.is_running
        with pytest.raises(OSError):
            await ask(url, "SELECT 1")
        private_postgres.start()
        assert await ask(url, "SELECT count(*) FROM kept") == number


async def test_a_frozen_postgres_keeps_its_clients_waiting(private_postgres: PostgresServer) -> None:
    private_postgres.pause()
    question = asyncio.create_task(ask(private_postgres.url, "SELECT 1"))
    done, _ = await asyncio.wait({question}, timeout=0.1)
    assert not done
    private_postgres.resume()
    assert await question == 1


async def test_a_standby_follows_and_takes_over(servers: Servers, private_postgres: PostgresServer) -> None:
    await ask(private_postgres.url, "CREATE TABLE kept (id int)")
    standby = servers.standby(private_postgres)
    assert await ask(standby.url, "SELECT pg_is_in_recovery()") is True
    private_postgres.kill()
    standby.promote()
    await ask(standby.url, "INSERT INTO kept VALUES (1)")


async def test_pgbouncer_shares_connections_between_transactions(
    servers: Servers, private_postgres: PostgresServer
) -> None:
    pooler = servers.pgbouncer(private_postgres, settings={"default_pool_size": "1"})
    first, second = [await asyncpg.connect(pooler.url, statement_cache_size=0) for _ in range(2)]
    backends = {await client.fetchval("SELECT pg_backend_pid()") for client in (first, second)}
    assert len(backends) == 1
    await first.close()
    await second.close()


async def test_postgres_over_tls_is_known_by_its_certificate(servers: Servers) -> None:
    server = servers.postgres(tls=servers.tls())
    url = f"{server.url}?sslmode=verify-full&sslrootcert={servers.tls().authority}"
    assert await ask(url, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True


def test_a_durable_redis_keeps_its_data_over_a_restart(private_redis: RedisServer) -> None:
    with redis.Redis.from_url(private_redis.url) as client:
        client.set("key", "value")
        private_redis.restart()
        assert client.get("key") == b"value"
        private_redis.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("key")


def test_redis_lets_in_whom_it_knows(servers: Servers) -> None:
    server = servers.redis(users={"flux": "~flux:* &* +@all"})
    with redis.Redis.from_url(server.url) as flux, redis.Redis.from_url(server.url_of()) as stranger:
        flux.set("flux:key", "value")
        with pytest.raises(redis.exceptions.NoPermissionError):
            flux.set("other", "value")
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_redis_speaks_tls_and_nothing_else(servers: Servers) -> None:
    server = servers.redis(tls=servers.tls())
    assert server.url.startswith("rediss://")
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    plain = server.url.partition("?")[0].replace("rediss", "redis")
    with redis.Redis.from_url(plain) as client, pytest.raises(redis.ConnectionError):
        client.ping()
