"""A Redis or Valkey of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.servers import account
from scripts.servers.ports import HOST
from scripts.servers.programs import redis_server
from scripts.servers.server import Server, Tls


class RedisServer(Server):
    """A Redis in ``folder``; ``durable`` appends every write to a file, synced once a second."""

    name = "Redis"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        durable: bool = True,
        users: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
        program: Path | None = None,
    ) -> None:
        """``users`` maps names to ACL rules (``"~flux:* +@all"``); each has its name for a password, and nobody comes
        in without one. With ``tls`` it listens for nothing else. ``settings`` as in redis.conf."""
        super().__init__(folder, port)
        self.tls = tls
        self._program = program
        self._durable = durable
        self._users = dict(users or {})
        self._settings = dict(settings or {})

    @property
    def url(self) -> str:
        """For the first of ``users``, or for everybody when there are none."""
        return self.url_of(next(iter(self._users), ""))

    def url_of(self, user: str = "", database: int = 0) -> str:
        """For one of ``users``, in one of the numbered databases."""
        credentials = f"{user}:{user}@" if user else ""
        if self.tls is None:
            return f"redis://{credentials}{HOST}:{self.port}/{database}"
        return f"rediss://{credentials}{HOST}:{self.port}/{database}?ssl_ca_certs={self.tls.authority}"

    def _prepare(self) -> None:
        lines = [f"{key} {value}" for key, value in self._configuration().items()]
        if self._users:
            lines += ["user default off"]
            lines += [f"user {name} on >{name} {rules}" for name, rules in self._users.items()]
        account.write(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def _command(self) -> Sequence[str | Path]:
        return [self._program or redis_server(), self.folder / "redis.conf"]

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError:
            return False
        # Whoever asks for a password is there too.
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def _connect(self) -> socket.socket:
        connection = socket.create_connection((HOST, self.port), timeout=1)
        if self.tls is None:
            return connection
        try:
            return ssl.create_default_context(cafile=self.tls.authority).wrap_socket(
                connection, server_hostname=HOST
            )
        except BaseException:
            connection.close()
            raise

    def _configuration(self) -> dict[str, str]:
        chosen = {
            "bind": HOST,
            "port": str(self.port),
            "dir": f'"{self.folder}"',
            # The command line is how a running server is found again.
            "set-proc-title": "no",
            # Hints must never be evicted: a stream would vanish whole.
            "maxmemory-policy": "noeviction",
            "save": '""',
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
        }
        if self.tls is not None:
            chosen |= {"port": "0", "tls-port": str(self.port), "tls-auth-clients": "no"}
            chosen |= {"tls-ca-cert-file": f'"{self.tls.authority}"'}
            chosen |= {"tls-cert-file": f'"{self.tls.certificate}"', "tls-key-file": f'"{self.tls.key}"'}
        return chosen | self._settings
