"""The fixtures that ``tests.servers`` lists; a plugin of ``tests/conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.servers.postgres import PostgresServer
from scripts.servers.redis import RedisServer
from tests.servers.private import Servers
from tests.servers.run import Run
from tests.servers.schema import migrate
from tests.servers.shared import SharedPostgres, SharedRedis

_RUN = pytest.StashKey[Run]()
_FOLDER = "servers_run"


def pytest_configure(config: pytest.Config) -> None:
    folder = getattr(config, "workerinput", {}).get(_FOLDER)
    config.stash[_RUN] = Run(Path(folder) if folder else None)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a process of the run."""
    node.workerinput[_FOLDER] = str(node.config.stash[_RUN].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].close()


@pytest.fixture(scope="session")
def servers_run(pytestconfig: pytest.Config) -> Run:
    """This process's part in the run."""
    return pytestconfig.stash[_RUN]


@pytest.fixture(scope="session")
def shared_postgres(servers_run: Run) -> SharedPostgres:
    """The PostgreSQL that the whole run shares."""
    return SharedPostgres(servers_run)


@pytest.fixture
def empty_database_url(shared_postgres: SharedPostgres) -> Iterator[str]:
    """A fresh PostgreSQL database with nothing in it."""
    url = shared_postgres.create_database()
    yield url
    shared_postgres.drop_database(url)


@pytest.fixture
def database_url(shared_postgres: SharedPostgres) -> Iterator[str]:
    """A fresh PostgreSQL database with the newest schema of Flux."""
    url = shared_postgres.create_database(shared_postgres.template("newest_schema", migrate))
    yield url
    shared_postgres.drop_database(url)


@pytest.fixture(scope="session")
def shared_redis(servers_run: Run) -> SharedRedis:
    """The Redis that the whole run shares."""
    return SharedRedis(servers_run)


@pytest.fixture
def redis_url(shared_redis: SharedRedis) -> Iterator[str]:
    """A Redis database that no other test has."""
    url = shared_redis.create_database()
    yield url
    shared_redis.drop_database(url)


@pytest.fixture
def servers(servers_run: Run) -> Iterator[Servers]:
    """Makes servers of this test's own."""
    made = Servers(servers_run)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def private_postgres(servers: Servers) -> PostgresServer:
    """A durable PostgreSQL of this test's own."""
    return servers.postgres()


@pytest.fixture
def private_redis(servers: Servers) -> RedisServer:
    """A durable Redis of this test's own."""
    return servers.redis()
