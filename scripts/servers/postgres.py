"""A PostgreSQL of its own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from scripts.servers import account
from scripts.servers.ports import HOST
from scripts.servers.programs import postgres_bin, version_of
from scripts.servers.server import Server, ServerFailed, Tls

USER = "flux"
"""Also the password, the superuser and the name of the first database."""
_LONGEST_SOCKET = 100
"""A little less than the bytes that a Unix socket's path may have."""


class PostgresServer(Server):
    """A PostgreSQL cluster in ``folder``, made at the first start; ``durable`` False never waits for the disk."""

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        durable: bool = True,
        auth: str = "trust",
        tls: Tls | None = None,
        settings: Mapping[str, str] | None = None,
        copy_of: PostgresServer | None = None,
    ) -> None:
        """``auth`` is ``trust`` (any password will do) or ``scram-sha-256``; ``settings`` as in postgresql.conf.

        ``copy_of`` is a stopped one: copying its files takes a tenth of the time that a new cluster does.
        """
        super().__init__(folder, port)
        self.data = self.folder / "data"
        self.tls = tls
        self._auth = auth
        self._durable = durable
        self._settings = dict(settings or {})
        self._copy_of = copy_of

    @property
    def url(self) -> str:
        """The database ``flux``, as a superuser; plain TCP, unless ``?sslmode=`` is added to it."""
        return self.url_of(USER)

    def url_of(self, database: str) -> str:
        """Another database of it."""
        return f"postgres://{USER}:{USER}@{HOST}:{self.port}/{database}"

    @property
    def socket_folder(self) -> Path | None:
        """Where its Unix socket is, None when the path would be longer than a socket's may be."""
        return self.folder if len(bytes(self.folder / ".s.PGSQL.65535.lock")) < _LONGEST_SOCKET else None

    def stop(self, mode: str = "fast") -> None:
        """``fast`` ends all transactions and writes everything down; ``immediate`` leaves it to recover at the next
        start, as after a crash; ``smart`` waits until every client has left."""
        numbers = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        self._stop(numbers[mode])

    def restart(self, mode: str = "fast") -> None:
        """Stop it in that mode and start it again, on the same port."""
        self.stop(mode)
        self.start()

    def standby(self, folder: Path) -> PostgresServer:
        """A copy of this running server that will follow it when started, until it is promoted."""
        copy = PostgresServer(folder, durable=self._durable, auth=self._auth, settings=self._settings)
        account.make_folder(copy.folder)
        flags = ["--write-recovery-conf", "--checkpoint=fast", *self._no_sync]
        self._run(self._bin / "pg_basebackup", "--pgdata", copy.data, *flags, "--dbname", self.url)
        return copy

    def promote(self) -> None:
        """Make a standby take writes, and wait until it does."""
        self._run(self._bin / "pg_ctl", "promote", "--wait", "--pgdata", self.data)

    def make_cluster(self) -> None:
        """Make its files, if there are none, without starting it."""
        if (self.data / "flux.conf").exists():
            return
        account.make_folder(self.folder)
        shutil.rmtree(self.data, ignore_errors=True)  # half made, when that was interrupted
        if self._copy_of is not None:
            self._run("cp", "-Rp", self._copy_of.data, self.data)
            return
        secret = self.folder / "password"
        account.write(secret, f"{USER}\n")
        flags = [f"--username={USER}", f"--pwfile={secret}", f"--auth={self._auth}", *self._no_sync]
        self._run(self._bin / "initdb", f"--pgdata={self.data}", "--encoding=UTF8", "--no-locale", *flags)
        create = f"CREATE DATABASE {USER}\n"
        self._run(self._bin / "postgres", "--single", "-D", self.data, "template1", input=create)
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("include 'flux.conf'\n")
        account.write(self.data / "flux.conf", "")

    def _prepare(self) -> None:
        self.make_cluster()
        self._check_version()
        lines = [f"{key} = '{value}'" for key, value in self._configuration().items()]
        account.write(self.data / "flux.conf", "\n".join(lines) + "\n")

    def _command(self) -> Sequence[str | Path]:
        return [self._bin / "postgres", "-D", self.data]

    def _answers(self) -> bool:
        # The postmaster writes its state into the eighth line, for pg_ctl. One that was killed leaves the file.
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        except OSError:
            return False
        mine = lines[:1] == [str(pid) for pid in self.pids]
        return mine and len(lines) > 7 and lines[7].strip() in ("ready", "standby")

    @property
    def _no_sync(self) -> list[str]:
        return [] if self._durable else ["--no-sync"]

    @cached_property
    def _bin(self) -> Path:
        return postgres_bin()

    def _check_version(self) -> None:
        made = (self.data / "PG_VERSION").read_text("ascii").strip()
        found = version_of(self._bin / "postgres")[0]
        if str(found) != made:
            raise ServerFailed(
                f"{self.data} was made by PostgreSQL {made}, and {self._bin} has {found}; "
                f"name the folder of {made} with FLUX_POSTGRES_BIN, or delete {self.folder} and all that is in it"
            )

    def _configuration(self) -> dict[str, str]:
        chosen = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_folder or ""),
            "max_connections": "300",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ",
        }
        if not self._durable:
            chosen |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}
        if self.tls is not None:
            chosen |= {"ssl": "on", "ssl_ca_file": str(self.tls.authority)}
            chosen |= {"ssl_cert_file": str(self.tls.certificate), "ssl_key_file": str(self.tls.key)}
        return chosen | self._settings

    def _run(self, *command: str | Path, input: str = "") -> None:
        done = account.run(command, input)
        if done.returncode != 0:
            raise ServerFailed(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
