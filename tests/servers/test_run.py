"""Nothing is started for nobody, and nothing is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.servers.processes import processes_of, until
from tests.servers.run import Run
from tests.servers.shared import SharedRedis

REPOSITORY = Path(__file__).parents[2]


def test_a_run_that_asks_for_no_server_leaves_nothing() -> None:
    run = Run()
    assert [file.name for file in run.folder.iterdir()] == ["alive"]
    run.close()
    assert not run.folder.exists()


def test_servers_stay_until_the_last_process_of_a_run_has_left() -> None:
    first = Run()
    second = Run(first.folder)
    SharedRedis(second)
    second.close()
    assert processes_of(first.folder)
    first.close()
    assert not processes_of(first.folder)
    assert not first.folder.exists()


def test_servers_of_a_run_that_was_killed_are_gone(tmp_path: Path) -> None:
    test = tmp_path / "test_killed.py"
    test.write_text(
        "import os, signal\n\n\n"
        "def test(private_postgres, redis_url, servers_run):\n"
        "    print(servers_run.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.servers.fixtures",
    ]
    ended = subprocess.run(
        [*command, "-c", str(REPOSITORY / "pyproject.toml"), str(test)],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stdout + ended.stderr
    folder = Path(ended.stdout.splitlines()[-1])
    assert folder.name.startswith("flux-")
    if not until(lambda: not folder.exists()):
        pytest.fail(f"{folder} is still there, with {processes_of(folder)}")
    assert not processes_of(folder)
