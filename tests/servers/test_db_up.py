"""`make db-up` and `make db-down`, as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from scripts.servers.ports import free_port
from scripts.servers.processes import processes_of
from tests.integration.places import clean_environment
from tests.servers.asking import ask
from tests.servers.run import Run

REPOSITORY = Path(__file__).parents[2]


class Desk:
    """Somebody in a checkout, with servers of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {"POSTGRES_PORT": str(free_port()), "REDIS_PORT": str(free_port())}
        places = {"FLUX_SERVERS_DIR": str(folder), "PYTHONPATH": str(REPOSITORY)}
        self.environment = clean_environment(FLUX_SERVERS="local", **places, **self.ports)

    def say(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """`python -m scripts.servers` with these words."""
        return subprocess.run(
            [sys.executable, "-m", "scripts.servers", *words],
            env={**self.environment, **more}, cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip

    def up(self) -> dict[str, str]:
        """`make db-up`; what it tells a shell to export."""
        answer = self.say("up")
        assert answer.returncode == 0, answer.stderr
        lines = [line.removeprefix("export ").partition("=") for line in answer.stdout.splitlines()]
        return {name: value for name, _, value in lines}


@pytest.fixture
def desk(servers_run: Run) -> Desk:
    return Desk(servers_run.new_folder())


async def test_servers_come_up_once_keep_their_data_and_go_down(desk: Desk) -> None:
    urls = desk.up()
    await ask(urls["DATABASE_URL"], "CREATE TABLE kept (id int)")
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        client.set("kept", "yes")
    running = processes_of(desk.folder)
    assert len(running) == 2

    assert desk.up() == urls
    assert processes_of(desk.folder) == running

    assert "its data stays" in desk.say("down").stderr
    assert processes_of(desk.folder) == []
    assert "nothing was up" in desk.say("down").stderr

    # Without being told the ports again.
    for name in desk.ports:
        del desk.environment[name]
    assert desk.up() == urls
    assert await ask(urls["DATABASE_URL"], "SELECT to_regclass('kept')") == "kept"
    with redis.Redis.from_url(urls["REDIS_URL"]) as client:
        assert client.get("kept") == b"yes"
    assert desk.say("down").returncode == 0


def test_a_port_that_is_taken_is_left_alone_and_named(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", int(desk.ports["POSTGRES_PORT"]))):
        refused = desk.say("up")
    assert refused.returncode == 1
    assert f"port {desk.ports['POSTGRES_PORT']} on 127.0.0.1 is taken by something else" in refused.stderr
    assert "POSTGRES_PORT=" in refused.stderr
    assert not processes_of(desk.folder)


def test_commands_find_the_servers_unless_somebody_names_others(desk: Desk) -> None:
    desk.folder.mkdir()
    (desk.folder / "env").write_text("DATABASE_URL=postgres://here/flux\nREDIS_URL=redis://here\n")
    show = "import os; print(os.environ.get('DATABASE_URL'), os.environ.get('REDIS_URL'))"
    assert desk.say("run", sys.executable, "-c", show).stdout == "postgres://here/flux redis://here\n"
    named = desk.say("run", sys.executable, "-c", show, DATABASE_URL="sqlite:///flux.db")
    assert named.stdout == "sqlite:///flux.db None\n"


def test_missing_programs_are_named(desk: Desk) -> None:
    missing = desk.say("programs", FLUX_REDIS_SERVER="/nowhere/redis-server")
    assert missing.returncode == 1
    assert "FLUX_REDIS_SERVER=/nowhere/redis-server is not a program" in missing.stderr


def test_where_a_docker_engine_answers_compose_starts_the_servers(desk: Desk, tmp_path: Path) -> None:
    """Against a stand-in for Docker, which has no engine here: which commands it is given."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$POSTGRES_PORT $REDIS_PORT $*" >> {tmp_path}/asked\n')
    docker.chmod(0o755)
    desk.environment["PATH"] = f"{tmp_path}{os.pathsep}{desk.environment['PATH']}"
    del desk.environment["FLUX_SERVERS"]
    postgres, redis_port = desk.ports.values()
    assert desk.up() == {
        "DATABASE_URL": f"postgres://flux:flux@127.0.0.1:{postgres}/flux",
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
    }
    asked = (tmp_path / "asked").read_text().splitlines()[-1]
    file = REPOSITORY / "deployments" / "compose.yaml"
    assert asked == f"{postgres} {redis_port} compose --file {file} up --detach --wait"
    assert not processes_of(desk.folder)
