"""The `flux` command, in this process for what it prints and as a process for how it lives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from flux.cli.main import run

PATIENCE = 60.0
"""Seconds for anything to come true: other tests have the machine too."""


class Answer(msgspec.Struct, frozen=True):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """Its one document."""
        return msgspec.json.decode(self.out, type=dict[str, object])


Flux = Callable[..., Answer]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, with no settings but those of the test."""
    for name in list(os.environ):
        if name.startswith(("FLUX_", "WORKER_", "API_", "DATABASE_", "REDIS_", "SMTP_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def flux(home: Path, capsys: pytest.CaptureFixture[str]) -> Flux:
    """Run a command in this process."""

    def command(*args: str) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            run(list(args))
        said = capsys.readouterr()
        return Answer(int(left.value.code or 0), said.out, said.err)

    return command


class Process:
    """A `flux` process of its own."""

    def __init__(self, args: tuple[str, ...], home: Path, environ: dict[str, str]) -> None:
        self.log = home / f"{args[0]}.{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flux", *args],
                cwd=home,
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, words: str, times: int = 1) -> None:
        """Return when it has said these words so many times."""

        def heard() -> bool:
            assert self._process.poll() is None or self.said.count(words) >= times, self.said
            return self.said.count(words) >= times

        eventually(heard, lambda: f"{words!r} was not said in:\n{self.said}")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        if self._process.poll() is None:
            # A supervisor passes it on; killed, its children notice.
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


Start = Callable[..., Process]


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Start a `flux` process that ends with the test."""
    started: list[Process] = []

    def command(*args: str, **environ: str) -> Process:
        process = Process(args, home, environ)
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()


def eventually(true: Callable[[], bool], why: Callable[[], str] = lambda: "it did not come true") -> None:
    """Return when it holds."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, why()
        time.sleep(0.05)


def free_port() -> str:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
