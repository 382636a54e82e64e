"""What PostgreSQL, Redis and PgBouncer have in common: a folder, a port, a log, and the ways to start and hurt them."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

from scripts.servers import account
from scripts.servers.ports import free_port, is_free
from scripts.servers.processes import is_alive, processes_of, send, until, with_children


class ServerFailed(Exception):
    """A server did not start or did not stop; the text has the end of its log."""


class Tls(NamedTuple):
    """Files of a server's certificate, and of the authority that signed it, which clients trust."""

    authority: Path
    certificate: Path
    key: Path


class Server(ABC):
    """One server in a folder of its own, on 127.0.0.1. A context manager: started on entry, stopped on exit.

    The folder outlives a stop, so data stays; a second object on the same folder finds a running server again.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """``port`` None takes a free one, kept over restarts."""
        self.folder = folder.resolve()
        self.port = port or free_port()
        self.log_file = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @property
    def pids(self) -> list[int]:
        """Its main process, when it runs (no matter who started it)."""
        if self._process is not None:
            return [self._process.pid] if self._process.poll() is None else []
        return processes_of(self.folder)

    @property
    def is_running(self) -> bool:
        return bool(self.pids)

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text("utf-8", "replace") if self.log_file.exists() else ""

    def start(self) -> Self:
        """Start it and wait until it answers. Raises ``ServerFailed``, ``ProgramMissing``, ``OSError``."""
        if self.is_running:
            raise ServerFailed(f"{self.name} runs already in {self.folder}")
        account.make_folder(self.folder)
        if not is_free(self.port):
            raise ServerFailed(f"port {self.port} is taken by something else")
        self._prepare()
        with self.log_file.open("ab") as log:
            account.give(self.log_file)
            process = account.spawn(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._process = process
        if not until(lambda: process.poll() is not None or self._answers()) or process.poll() is not None:
            self.kill()
            raise ServerFailed(f"{self.name} did not start:\n{self._tail()}")
        return self

    def stop(self) -> None:
        """Stop it in order, and wait until it is gone."""
        self._stop(signal.SIGTERM)

    def restart(self) -> None:
        """Stop it in order and start it again, on the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 all of its processes at once, as a power cut would, and wait until they are gone."""
        self._stop(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: it answers nothing, its connections stay open."""
        send(with_children(self.pids), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        send(with_children(self.pids), signal.SIGCONT)

    def let_go(self) -> None:
        """Leave it running when this process ends; it is found again by its folder."""
        if self._process is not None:
            self._process.returncode = 0  # nobody waits for it here, which Popen would complain about
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> None:
        """Make what must be on the disk before a start."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves clients already."""

    def _stop(self, number: signal.Signals) -> None:
        pids = self.pids
        family = with_children(pids)
        send(family if number == signal.SIGKILL else pids, number)
        send(family, signal.SIGCONT)  # one that is frozen hears nothing else
        if self._process is not None:
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                raise ServerFailed(f"{self.name} did not stop:\n{self._tail()}") from None
            self._process = None
        if not until(lambda: not any(is_alive(pid) for pid in family)):
            raise ServerFailed(f"{self.name} did not stop:\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-20:])
