"""Servers of one test: durable, and free to be hurt."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from scripts.servers.pgbouncer import PgBouncer
from scripts.servers.postgres import PostgresServer
from scripts.servers.redis import RedisServer
from scripts.servers.server import Server, Tls
from tests.servers.certificates import make_tls
from tests.servers.proxy import Proxy
from tests.servers.run import Run
from tests.servers.shared import new_cluster

S = TypeVar("S", bound=Server)


class Servers:
    """Starts what a test asks for, and kills it when the test ends."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ends = ExitStack()
        self._tls: Tls | None = None

    def postgres(
        self,
        *,
        folder: Path | None = None,
        durable: bool = True,
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> PostgresServer:
        """A started PostgreSQL. ``folder`` puts it elsewhere, on a small disk for example."""
        cluster = new_cluster(self._run)
        at = folder or self._run.new_folder()
        return self._start(PostgresServer(at, durable=durable, tls=tls, settings=settings, copy_of=cluster))

    def standby(self, primary: PostgresServer) -> PostgresServer:
        """A started copy of ``primary`` that follows it until ``promote()``."""
        return self._start(primary.standby(self._run.new_folder()))

    def pgbouncer(
        self,
        primary: PostgresServer,
        *,
        pool_mode: str = "transaction",
        settings: Mapping[str, str] | None = None,
    ) -> PgBouncer:
        """A started PgBouncer in front of ``primary``."""
        return self._start(PgBouncer(self._run.new_folder(), primary, pool_mode=pool_mode, settings=settings))

    def redis(
        self,
        *,
        durable: bool = True,
        users: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
        program: Path | None = None,
    ) -> RedisServer:
        """A started Redis; ``program`` may be Valkey's (``scripts.servers.programs.valkey_server``)."""
        at = self._run.new_folder()
        return self._start(
            RedisServer(at, durable=durable, users=users, tls=tls, settings=settings, program=program)
        )

    def proxy(self, url: str) -> Proxy:
        """A started proxy in front of the server that ``url`` names."""
        return self._ends.enter_context(Proxy(url))

    def tls(self) -> Tls:
        """A certificate for localhost and 127.0.0.1 by an authority of this test's own."""
        if self._tls is None:
            self._tls = make_tls(self._run.new_folder())
        return self._tls

    def close(self) -> None:
        """Kill everything that was started here."""
        self._ends.close()

    def _start(self, server: S) -> S:
        self._ends.callback(server.kill)
        server.start()
        return server
