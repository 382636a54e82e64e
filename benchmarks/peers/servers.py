"""PostgreSQL and Redis for these measurements alone: empty before each of them, on ports of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.servers.ports import HOST
from scripts.servers.postgres import PostgresServer
from scripts.servers.programs import postgres_bin, redis_server, version_of
from scripts.servers.redis import RedisServer

POSTGRES_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
}
"""The same for everybody. Everything else is PostgreSQL's default."""

# What a Redis without a configuration file does: a snapshot now and then, no log of each write.
REDIS_SETTINGS = {"save": "3600 1 300 100 60 10000", "appendonly": "no"}


class Servers:
    """Both, running."""

    def __init__(self, postgres: PostgresServer, redis: RedisServer) -> None:
        self._postgres = postgres
        self._redis = redis
        self.redis_url = redis.url
        # One spelling that every driver reads.
        self.postgres_url = postgres.url_of("bench").replace("postgres://", "postgresql://")
        postgres_version = ".".join(map(str, version_of(postgres_bin() / "postgres")))
        redis_version = ".".join(map(str, version_of(redis_server())))
        self.versions = {"PostgreSQL": postgres_version, "Redis": redis_version}

    @property
    def pids(self) -> dict[str, list[int]]:
        """Their main processes."""
        return {"postgres": self._postgres.pids, "redis": self._redis.pids}

    def fresh(self) -> None:
        """An empty database and an empty Redis."""
        self._sql("flux", "DROP DATABASE IF EXISTS bench WITH (FORCE)", "CREATE DATABASE bench")
        with socket.create_connection((HOST, self._redis.port)) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            if not redis.recv(100).startswith(b"+OK"):
                raise RuntimeError("Redis did not flush")

    def settle(self) -> None:
        """Statistics and a checkpoint, so that no run pays for the inserts before it or plans without knowing."""
        self._sql("bench", "VACUUM (ANALYZE)", "CHECKPOINT")

    def _sql(self, database: str, *statements: str) -> None:
        flags = [flag for statement in statements for flag in ("-c", statement)]
        url = self._postgres.url_of(database)
        command = [str(postgres_bin() / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", *flags, url]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def running(folder: Path) -> Iterator[Servers]:
    """Both servers, made anew in ``folder`` and removed afterwards.

    Raises ``ProgramMissing`` when one is not installed.
    """
    _remove(folder)
    try:
        with (
            PostgresServer(folder / "postgres", settings=POSTGRES_SETTINGS) as postgres,
            RedisServer(folder / "redis", settings=REDIS_SETTINGS) as redis,
        ):
            yield Servers(postgres, redis)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for name in ("postgres", "redis"):
        shutil.rmtree(folder / name, ignore_errors=True)
