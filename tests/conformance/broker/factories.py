"""Where the brokers under test come from. A later one is a class like these, and one more line in FACTORIES."""

from __future__ import annotations

from typing import Protocol
from uuid import uuid4

import pytest

from flux.brokers.from_store import StoreBroker
from flux.brokers.redis.broker import RedisBroker
from flux.engine.ports import Broker, Store
from scripts.servers.programs import ProgramMissing, valkey_server
from tests.servers.private import Servers
from tests.servers.shared import SharedRedis


class Place(Protocol):
    """What the brokers of one test have in common: a server, or a part of one that is theirs."""

    def broker(self, store: Store, width: int) -> Broker:
        """What another process would have, not yet opened. ``width``: the hints of a lane, where it holds some."""
        ...

    def wipe(self) -> None:
        """Everything that it holds is lost, as by a server without a disk that starts again."""
        ...


class Factory(Protocol):
    """One kind of broker."""

    name: str
    holds_hints: bool

    def place(self, request: pytest.FixtureRequest) -> Place:
        """A fresh place with nothing in it."""
        ...


class TheStore:
    """The store as its own broker."""

    name = "store"
    holds_hints = False

    def place(self, request: pytest.FixtureRequest) -> Place:
        """There is nothing but the store."""
        return self

    def broker(self, store: Store, width: int) -> Broker:
        """It holds no hints."""
        return StoreBroker(store)

    def wipe(self) -> None:
        """It has nothing to lose."""


class RedisPlace:
    """A namespace in a database of a Redis."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.namespace = uuid4().hex

    def broker(self, store: Store, width: int) -> Broker:
        """One process's."""
        return RedisBroker(self.url, StoreBroker(store), namespace=self.namespace, width=width)

    def wipe(self) -> None:
        """FLUSHDB. The scripts go too, as at a restart."""
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.flushdb()
            client.script_flush()


class Redis:
    """Redis Streams."""

    name = "redis"
    holds_hints = True

    def place(self, request: pytest.FixtureRequest) -> Place:
        """A database of its own in the Redis of the run."""
        shared: SharedRedis = request.getfixturevalue("shared_redis")
        return RedisPlace(shared.create_database())


class Valkey:
    """The same on Valkey."""

    name = "valkey"
    holds_hints = True

    def place(self, request: pytest.FixtureRequest) -> Place:
        """A server of its own."""
        servers: Servers = request.getfixturevalue("servers")
        return RedisPlace(servers.redis(program=valkey_server(), durable=False).url)


def _has_valkey() -> bool:
    try:
        valkey_server()
    except ProgramMissing:
        return False
    return True


FACTORIES: list[Factory] = [TheStore(), Redis()]
if _has_valkey():  # not every distribution has it
    FACTORIES.append(Valkey())
