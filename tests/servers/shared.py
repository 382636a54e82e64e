"""The PostgreSQL and the Redis that all tests of a run share, and what each test gets of them.

Drivers are imported where they are needed: every test process loads this, and few need them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import uuid4

from scripts.servers.postgres import PostgresServer
from scripts.servers.redis import RedisServer
from scripts.servers.server import Server
from tests.servers.run import Run

S = TypeVar("S", bound=Server)

_DATABASES = 16_384
"""Of the shared Redis: more than a run has tests."""


class SharedPostgres:
    """One PostgreSQL for functional tests. It never waits for the disk, and every test has its own database."""

    def __init__(self, run: Run) -> None:
        self._run = run
        folder = run.folder / "postgres"
        self._server = _shared(
            run,
            "postgres",
            lambda port: PostgresServer(folder, port, durable=False, copy_of=new_cluster(run)),
        )

    def url_of(self, database: str) -> str:
        """Where a database of it is."""
        return self._server.url_of(database)

    def template(self, name: str, fill: Callable[[str], object]) -> str:
        """A database to copy, filled once a run by ``fill(url)``, which must leave no connection open; its name."""
        with self._run.lock(f"template-{name}") as first:
            if first:
                self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                self._execute(f'CREATE DATABASE "{name}"')
                fill(self.url_of(name))
        return name

    def create_database(self, template: str = "template1") -> str:
        """A fresh database, a copy of ``template``; its URL."""
        name = f"test_{uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Throw a database away, and whoever is still connected to it."""
        self._execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


class SharedRedis:
    """One Redis for functional tests. It keeps nothing on the disk, and every test has a numbered database."""

    def __init__(self, run: Run) -> None:
        folder = run.folder / "redis"
        settings = {"databases": str(_DATABASES)}
        self._server = _shared(
            run, "redis", lambda port: RedisServer(folder, port, durable=False, settings=settings)
        )

    def create_database(self) -> str:
        """A database that no test has had; its URL."""
        import redis

        with redis.Redis.from_url(self._server.url) as client:
            number = int(client.incr("tests"))
        if number >= _DATABASES:
            raise RuntimeError(f"the run has used all {_DATABASES} databases of its Redis")
        return self._server.url_of(database=number)

    def drop_database(self, url: str) -> None:
        """Forget all keys of a database."""
        import redis

        with redis.Redis.from_url(url) as client:
            client.flushdb()


def new_cluster(run: Run) -> PostgresServer:
    """A PostgreSQL that was made and never started, once a run: what the others are copied from."""
    cluster = PostgresServer(run.folder / "cluster", durable=False)
    with run.lock("cluster") as first:
        if first:
            run.employ_janitor()
            cluster.make_cluster()
    return cluster


def _shared(run: Run, name: str, make: Callable[[int | None], S]) -> S:
    """The run's one server of that name: the process that needs it first starts it."""
    note = run.folder / f"{name}.port"
    with run.lock(name) as first:
        if not first:
            return make(int(note.read_text("ascii")))
        run.employ_janitor()
        server = make(None)
        server.start()
        server.let_go()
        note.write_text(str(server.port), "ascii")
        return server
