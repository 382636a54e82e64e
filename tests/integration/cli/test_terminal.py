"""`flux dev` in a terminal: Ctrl+C once is graceful, twice is at once; without watchfiles it runs all the same."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import PATIENCE, Flux, Start, eventually, free_port

CTRL_C = b"\x03"


class Terminal:
    """A `flux` process whose keyboard and screen are ours: what is typed as Ctrl+C reaches its whole group."""

    def __init__(self, *args: str, **environ: str) -> None:
        self.screen = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "flux", *args], {**os.environ, **environ})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._status: int | None = None

    def _read(self) -> None:
        # When the last process that has the terminal is gone, reading fails.
        with contextlib.suppress(OSError):
            while data := os.read(self._terminal, 65536):
                self.screen += data.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def shows(self, words: str) -> None:
        eventually(lambda: words in self.screen, lambda: f"{words!r} is not in:\n{self.screen}")

    def end(self) -> int:
        """Its exit code."""

        def gone() -> bool:
            if self._status is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = status if pid else None
            return self._status is not None

        eventually(gone, lambda: f"it goes on:\n{self.screen}")
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def close(self) -> None:
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._reader.join(PATIENCE)
        os.close(self._terminal)


@pytest.fixture
def terminal(home: Path) -> Iterator[Callable[..., Terminal]]:
    """Open a terminal that is closed with the test."""
    opened: list[Terminal] = []

    def open(*args: str, **environ: str) -> Terminal:
        opened.append(Terminal(*args, **environ))
        return opened[-1]

    yield open
    for one in opened:
        one.close()


def running(flux: Flux, seconds: str) -> str:
    """A job that runs for so long; its id."""
    id = flux("job", "enqueue", "sleep", f"seconds={seconds}", "--quiet").out.strip()
    eventually(lambda: state(flux, id) == "running")
    return id


def state(flux: Flux, id: str) -> str:
    return str(flux("job", "show", id, "--json").json["state"])


@pytest.mark.parametrize("reload", ["--reload", "--no-reload"])
def test_ctrl_c_lets_jobs_finish(flux: Flux, terminal: Callable[..., Terminal], reload: str) -> None:
    dev = terminal("dev", reload, API_PORT=free_port(), DASHBOARD_PORT=free_port(), FLUX_SHUTDOWN_GRACE="2m")
    dev.shows("takes jobs")
    id = running(flux, "2")
    dev.type(CTRL_C)
    dev.shows("stopping; once more stops at once")
    assert dev.end() == 0, dev.screen
    assert state(flux, id) == "succeeded"
    assert dev.screen.count("once more stops at once") == 1
    assert "Traceback" not in dev.screen


@pytest.mark.parametrize("reload", ["--reload", "--no-reload"])
def test_ctrl_c_twice_hands_jobs_back(flux: Flux, terminal: Callable[..., Terminal], reload: str) -> None:
    dev = terminal("dev", reload, API_PORT=free_port(), DASHBOARD_PORT=free_port(), FLUX_SHUTDOWN_GRACE="1h")
    dev.shows("takes jobs")
    id = running(flux, "3600")
    dev.type(CTRL_C)
    dev.shows("leaves: waits for")
    dev.type(CTRL_C)
    assert dev.end() == 128 + signal.SIGINT, dev.screen
    assert state(flux, id) == "available"
    assert "Traceback" not in dev.screen


def test_without_watchfiles_dev_runs_and_says_how_to_reload(flux: Flux, home: Path, start: Start) -> None:
    # What Python imports before everything else, and what makes a module as good as not installed.
    (home / "sitecustomize.py").write_text("import sys\nsys.modules['watchfiles'] = None\n")
    dev = start("dev", PYTHONPATH=str(home), API_PORT=free_port(), DASHBOARD_PORT=free_port())
    dev.wait_for("takes jobs")
    assert "no reload: pip install 'flux[cli]'" in dev.said
    assert flux("job", "enqueue", "echo", "--wait", "--wait-timeout", "60s").code == 0
    dev.signal()
    assert dev.end() == 0, dev.said
