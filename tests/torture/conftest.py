"""A house for each test, and its logs where a test fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.servers.postgres import PostgresServer
from scripts.servers.redis import RedisServer
from tests.servers.schema import migrate
from tests.torture.hosted import Hosted
from tests.torture.house import House

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # signals, /proc and mounts as Linux has them


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def hosted(tmp_path: Path, private_postgres: PostgresServer, private_redis: RedisServer) -> Iterator[Hosted]:
    """On a PostgreSQL and a Redis of its own, which the test may hurt by the fixtures of those names."""
    migrate(private_postgres.url)
    made = Hosted(tmp_path, private_postgres.url, private_redis.url)
    try:
        yield made
    finally:
        made.close()
