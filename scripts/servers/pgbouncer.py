"""A PgBouncer in front of a PostgreSQL."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.servers import account
from scripts.servers.ports import HOST
from scripts.servers.postgres import USER, PostgresServer
from scripts.servers.programs import pgbouncer
from scripts.servers.server import Server


class PgBouncer(Server):
    """A pooler in ``folder`` for all databases of ``server``, in transaction mode unless told otherwise."""

    name = "PgBouncer"

    def __init__(
        self,
        folder: Path,
        server: PostgresServer,
        port: int | None = None,
        *,
        pool_mode: str = "transaction",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings`` as in the ``[pgbouncer]`` section of pgbouncer.ini."""
        super().__init__(folder, port)
        self._server = server
        self._pool_mode = pool_mode
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """The database ``flux`` through the pooler."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """Another database through the pooler."""
        return f"postgres://{USER}:{USER}@{HOST}:{self.port}/{database}"

    def _prepare(self) -> None:
        account.write(self.folder / "users", f'"{USER}" "{USER}"\n')
        settings = {
            "listen_addr": HOST,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(self.folder / "users"),
            "pool_mode": self._pool_mode,
            "default_pool_size": "10",
            "max_client_conn": "500",
            **self._settings,
        }
        lines = ["[databases]", f"* = host={HOST} port={self._server.port}", "[pgbouncer]"]
        lines += [f"{key} = {value}" for key, value in settings.items()]
        account.write(self.folder / "pgbouncer.ini", "\n".join(lines) + "\n")

    def _command(self) -> Sequence[str | Path]:
        return [pgbouncer(), self.folder / "pgbouncer.ini"]

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True
