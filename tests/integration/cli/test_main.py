"""What stands around all commands: help, version, unknown words, settings, exit codes."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flux import __version__
from tests.integration.cli.conftest import Flux


def test_help_names_every_command_and_loads_next_to_nothing(flux: Flux) -> None:
    answer = flux("--help")
    assert answer.code == 0
    for command in (
        "dev",
        "up",
        "worker",
        "api",
        "scheduler",
        "dashboard",
        "job",
        "queue",
        "schedule",
        "workflow",
        "migrate",
    ):
        assert f"  {command} " in answer.out
    code = "import sys; sys.argv = ['flux', '--help']\nfrom flux.cli.main import run\n"
    code += "try: run()\nexcept SystemExit: print([m for m in ('typer', 'asyncio', 'sqlite3') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(flux: Flux) -> None:
    assert flux("--version").out == f"flux {__version__}\n"
    assert flux("--version", "--json").json == {"version": __version__}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("wrker",), "did you mean flux worker?"),
        (("job", "lst"), "Did you mean 'list'?"),
        (("--verbose",), "is not an option of flux"),
        (("job", "enqueue"), "Missing argument"),
        (("worker", "--concurency", "3"), "--concurrency"),
    ],
)
def test_a_wrong_word_is_a_usage_error_with_a_hint(flux: Flux, words: tuple[str, ...], hint: str) -> None:
    answer = flux(*words)
    assert answer.code == 2
    assert hint in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "command", ["dev", "up", "worker", "api", "scheduler", "dashboard", "doctor", "bench"]
)
def test_every_command_has_help(flux: Flux, command: str) -> None:
    answer = flux(command, "--help")
    assert answer.code == 0
    assert f"Usage: flux {command}" in answer.out


@pytest.mark.parametrize("command", [("job", "list"), ("worker",), ("api",), ("up",), ("doctor",)])
def test_unknown_settings_stop_the_start_with_one_line(
    flux: Flux, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FLUX_LEASES", "3s")
    answer = flux(*command)
    said = answer.err if command != ("doctor",) else answer.out
    assert answer.code == (2 if command != ("doctor",) else 1)
    assert "FLUX_LEASES is not a setting of Flux; did you mean FLUX_LEASE?" in said
    if command != ("doctor",):
        assert answer.err.count("\n") == 1


def test_a_server_that_is_away_is_named_without_its_password(
    flux: Flux, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:  # bound and not listening: whoever connects is refused
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.setenv("DATABASE_URL", f"postgres://flux:secret@127.0.0.1:{port}/flux")
        answer = flux("job", "list")
    assert answer.code == 3
    assert "'flux' at 127.0.0.1" in answer.err
    assert "is PostgreSQL running there?" in answer.err
    assert "secret" not in answer.err


def test_no_database_is_not_reachable_and_none_is_made(flux: Flux, home: Path) -> None:
    for command in (("job", "list"), ("queue", "list"), ("worker", "list"), ("migrate", "status")):
        answer = flux(*command)
        assert answer.code == 3
        assert str(home / "flux.db") in answer.err
    assert list(home.iterdir()) == []


def test_a_file_that_is_no_database_is_not_reachable(flux: Flux, home: Path) -> None:
    (home / "flux.db").write_text("this is not a database, it is a text that is long enough" * 20)
    answer = flux("job", "list")
    assert answer.code == 3
    assert "is not an SQLite database" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("app", "is not module:attribute"),
        ("app.py:flux", "write the module: app:flux"),
        ("nowhere:flux", "there is no module nowhere"),
        ("mine:other", "mine has no other; it has app"),
        ("mine:number", "and not a Flux object"),
        ("broken:flux", "broken cannot be imported: NameError"),
        ("typo:flux", "typo cannot be imported: SyntaxError"),
        ("needs:flux", "needs cannot be imported: ModuleNotFoundError"),
    ],
)
def test_an_app_that_cannot_be_used_is_explained(flux: Flux, home: Path, spec: str, reason: str) -> None:
    (home / "mine.py").write_text("from flux import Flux\napp = Flux()\nnumber = 3\n")
    (home / "broken.py").write_text("x = 1\nflux = undefined\n")
    (home / "typo.py").write_text("flux = = 3\n")
    (home / "needs.py").write_text("import a_module_that_is_not_there\n")
    done = subprocess.run(
        [sys.executable, "-m", "flux", "worker", spec], cwd=home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    if "NameError" in reason:
        assert "broken.py line 2" in done.stderr
