"""Redis in trouble: away, frozen, out of memory, badly set up. Work goes on, people are told once, hints come again."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
import redis
import uvloop

from flux.brokers.from_store import StoreBroker
from flux.brokers.redis import broker as redis_broker
from flux.brokers.redis.broker import RedisBroker
from flux.brokers.redis.link import Link, Unfit
from flux.config import Settings, SettingsError, build_engine
from flux.engine.ports import Lane
from scripts.servers.redis import RedisServer
from tests.conformance.broker.factories import RedisPlace
from tests.conformance.broker.lab import WIDTH, Lab
from tests.servers.private import Servers

DEFAULT = Lane("default", 5)


@asynccontextmanager
async def lab_at(url: str, folder: Path) -> AsyncIterator[Lab]:
    lab = Lab(RedisPlace(url), folder)
    await lab.open()
    try:
        yield lab
    finally:
        await lab.close()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def well(lab: Lab) -> bool:
    return await lab.broker.health() is None


def ill(lab: Lab) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await lab.broker.health() is not None

    return check


# --- away and back ------------------------------------------------------------------------------------------------


async def test_without_redis_work_goes_on_and_with_it_it_goes_on(
    private_redis: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flux")
    async with lab_at(private_redis.url, tmp_path) as lab:
        [before] = await lab.enqueue()
        assert await lab.take() == [before]
        private_redis.kill()
        during = [job for _ in range(20) for job in await lab.enqueue()]
        assert sorted(await lab.take_all(20)) == sorted(during)
        health = await lab.broker.health()
        assert health is not None
        assert str(private_redis.port) in health
        left = await lab.store_jobs(3)
        private_redis.start()
        await lab.until(lambda: well(lab))
        async with lab.dispatcher():
            assert sorted(await lab.take_all(3)) == sorted(hint.job_id for hint in left)
            [after] = await lab.enqueue()
            assert await lab.take() == [after]
        told = [record.getMessage() for record in caplog.records if record.name == "flux.redis"]
        assert len(told) == 2, told
        assert "cannot be used" in told[0]
        assert "is back after" in told[1]


async def test_it_need_not_be_there_at_the_start(private_redis: RedisServer, tmp_path: Path) -> None:
    private_redis.stop()
    async with lab_at(private_redis.url, tmp_path) as lab:
        [job] = await lab.enqueue()
        assert await lab.take() == [job]
        private_redis.start()
        await lab.until(lambda: well(lab))
        await lab.enqueue(2 * WIDTH)

        async def holds() -> bool:
            return await lab.lanes.length(DEFAULT) == WIDTH

        await lab.until(holds)


async def test_a_frozen_redis_holds_nobody_up_for_long(private_redis: RedisServer, tmp_path: Path) -> None:
    async with lab_at(private_redis.url, tmp_path) as lab:
        demand = await lab.demand()
        waiting = asyncio.create_task(lab.receive(lab.broker, demand))
        private_redis.pause()
        try:
            [job] = await lab.enqueue()
            offer = await waiting
            claimed = await lab.claim(lab.broker, offer, demand)
            assert claimed + (await lab.take() if not claimed else []) == [job]
        finally:
            private_redis.resume()
        await lab.until(lambda: well(lab))


async def test_who_waits_hears_again_after_its_connection_was_cut(servers: Servers, tmp_path: Path) -> None:
    server = servers.redis()
    proxy = servers.proxy(server.url)
    async with lab_at(proxy.url, tmp_path) as lab:
        for _ in range(3):
            waiting = asyncio.create_task(lab.take())
            await lab.until(lambda: well(lab))
            proxy.cut()
            [job] = await lab.enqueue()
            assert await waiting == [job]


async def test_a_group_that_somebody_has_destroyed_is_made_again(redis_url: str, tmp_path: Path) -> None:
    place = RedisPlace(redis_url)
    lab = Lab(place, tmp_path)
    await lab.open()
    try:
        jobs = await lab.enqueue(3)

        async def arrived() -> bool:
            return await lab.lanes.length(DEFAULT) == 3

        await lab.until(arrived)
        with redis.Redis.from_url(redis_url) as client:
            assert client.xgroup_destroy(f"flux:{{{place.namespace}}}:lane:5:default", "flux") == 1
        assert await lab.take_all(3) == jobs
    finally:
        await lab.close()


@contextmanager
def resetting() -> Iterator[str]:
    """A server that breaks every connection at its first byte, as one does that goes down; its URL."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_connection_that_breaks_while_it_is_made_is_one_more_trouble() -> None:
    """On uvloop, as in `flux worker`: there a write on such a connection fails in another way than elsewhere."""

    async def open_often(url: str) -> None:
        for _ in range(100):
            link = Link(url, "n", Random(1))
            await link.open()
            assert "cannot be used" in str(link.trouble)
            await link.close()

    with resetting() as url:
        uvloop.run(open_often(url))


# --- not fit for it -----------------------------------------------------------------------------------------------


async def test_one_that_evicts_is_refused(servers: Servers, tmp_path: Path) -> None:
    server = servers.redis(settings={"maxmemory-policy": "allkeys-lru"})
    with pytest.raises(
        Unfit, match=r"maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction"
    ) as refused:
        await build_engine(
            Settings(database_url=f"sqlite:///{tmp_path}/flux.db", redis_url=server.url)
        ).open()
    assert "\n" not in str(refused.value)


async def test_one_that_begins_to_evict_is_not_used_any_more(
    private_redis: RedisServer, tmp_path: Path
) -> None:
    async with lab_at(private_redis.url, tmp_path) as lab:
        with redis.Redis.from_url(private_redis.url) as client:
            client.config_set("maxmemory-policy", "volatile-ttl")
            assert "volatile-ttl" in str(await lab.broker.health())
            [job] = await lab.enqueue()
            assert await lab.take() == [job]
            client.config_set("maxmemory-policy", "noeviction")
        await lab.until(lambda: well(lab))


async def test_out_of_memory_it_is_done_without(
    servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flux")
    server = servers.redis(durable=False)
    async with lab_at(server.url, tmp_path) as lab:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1")
            jobs = [job for _ in range(20) for job in await lab.enqueue()]
            assert sorted(await lab.take_all(20)) == sorted(jobs)
            assert "maxmemory" in str(await lab.broker.health())
            client.config_set("maxmemory", "0")
        await lab.until(lambda: well(lab))
        told = [record.getMessage() for record in caplog.records if record.name == "flux.redis"]
        assert len(told) == 2, told


# --- how to reach it ----------------------------------------------------------------------------------------------

RULES = "~flux:* &flux:* +@all -@admin -@dangerous +info -config"


async def test_a_user_with_few_rights_and_tls(servers: Servers, tmp_path: Path) -> None:
    server = servers.redis(users={"carrier": RULES}, tls=servers.tls())
    assert server.url.startswith("rediss://carrier:carrier@")
    async with lab_at(server.url, tmp_path) as lab, lab.dispatcher():
        jobs = await lab.enqueue(3 * WIDTH)
        assert sorted(await lab.take_all(3 * WIDTH)) == sorted(jobs)
        assert await lab.broker.health() is None


async def test_a_wrong_password_is_named_and_never_shown(
    servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.redis(users={"carrier": RULES})
    async with lab_at(server.url.replace(":carrier@", ":s3cret@"), tmp_path) as lab:
        [job] = await lab.enqueue()
        assert await lab.take() == [job]
        health = str(await lab.broker.health())
        assert "username-password" in health
        for text in (health, *warnings_of(caplog)):
            assert "s3cret" not in text


async def test_a_user_who_may_not_ask_for_the_policy_is_told_of(
    servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.redis(users={"carrier": RULES + " -info"})
    async with lab_at(server.url, tmp_path) as lab:
        assert await lab.broker.health() is None
        assert any("+info" in text for text in warnings_of(caplog))
        [job] = await lab.enqueue()
        assert await lab.take() == [job]


async def test_a_unix_socket(servers: Servers, tmp_path: Path) -> None:
    path = f"/tmp/flux-{uuid4().hex}.sock"
    servers.redis(settings={"unixsocket": path, "unixsocketperm": "777"})
    async with lab_at(f"unix://{path}", tmp_path) as lab:
        [job] = await lab.enqueue()
        assert await lab.take() == [job]
        assert await lab.broker.health() is None


def test_a_url_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite:///{tmp_path}/flux.db",
        redis_url="redis://h:6379/0?ssl_cert_reqs=odd&socket_timeout=x",
    )
    with pytest.raises(SettingsError, match="cannot be used"):
        build_engine(settings)


# --- what it costs ------------------------------------------------------------------------------------------------


async def test_a_backlog_of_a_million_costs_no_more_than_its_width(servers: Servers, tmp_path: Path) -> None:
    """Hints past the width are not held, so a million is shown by thirty thousand."""
    server = servers.redis(durable=False)
    lab = Lab(RedisPlace(server.url), tmp_path)
    broker = RedisBroker(server.url, StoreBroker(lab.store), namespace="n", width=redis_broker.WIDTH)
    await broker.open()
    try:
        with redis.Redis.from_url(server.url) as client:
            before = int(client.info("memory")["used_memory_dataset"])
            for hints in range(3):
                ids = [f"0192{hints:04x}-0000-7000-8000-{number:012x}" for number in range(10_000)]
                await broker.lanes.feed(DEFAULT, ids)
            assert await broker.lanes.length(DEFAULT) == 10_000
            assert int(client.info("memory")["used_memory_dataset"]) - before < 2_000_000
    finally:
        await broker.close()


async def test_lanes_that_are_empty_leave_nothing_behind(redis_url: str, tmp_path: Path) -> None:
    """Queues come and go, workers too: what they had at Redis goes with them."""
    async with lab_at(redis_url, tmp_path) as lab:
        for number in range(10):
            await lab.enqueue(queue=f"q{number}")
        await lab.take_all(10)
        with redis.Redis.from_url(redis_url) as client:
            async with lab.dispatcher():

                async def gone() -> bool:
                    return not list(client.scan_iter("flux:*:lane:*"))

                await lab.until(gone)
