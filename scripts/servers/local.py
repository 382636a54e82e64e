"""`make db-up` and `make db-down` without Docker: installed programs, data in a folder of the project."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from scripts.servers import places
from scripts.servers.ports import HOST, is_free
from scripts.servers.postgres import PostgresServer
from scripts.servers.programs import ProgramMissing, postgres_bin, redis_server
from scripts.servers.redis import RedisServer
from scripts.servers.server import Server, ServerFailed
from scripts.servers.talk import say


def up() -> Mapping[str, str]:
    """Start what does not run yet; the URLs. Raises ``ServerFailed``, ``ProgramMissing``, ``ValueError``."""
    _install_if_missing()
    urls: dict[str, str] = {}
    for name, variable, server in (
        ("DATABASE_URL", "POSTGRES_PORT", _postgres()),
        ("REDIS_URL", "REDIS_PORT", _redis()),
    ):
        if server.is_running:
            server.port = places.last_port(name) or server.port
            say(f"{server.name} is up already on {HOST}:{server.port}")
        else:
            _start(server, variable)
        urls[name] = server.url
        places.remember(urls)
    return urls


def down() -> bool:
    """Stop what runs; whether anything did. The data stays."""
    running: list[Server] = [server for server in (_postgres(), _redis()) if server.is_running]
    for server in running:
        server.stop()
        say(f"{server.name} is down; its data stays in {server.folder}")
    return bool(running)


def _start(server: Server, variable: str) -> None:
    if not is_free(server.port):
        raise ServerFailed(
            f"port {server.port} on {HOST} is taken by something else, which is left alone; "
            f"make db-up {variable}={server.port + 1000} puts {server.name} elsewhere"
        )
    server.start()
    server.let_go()
    say(f"{server.name} is up on {HOST}:{server.port}; its data and its log are in {server.folder}")


def is_up() -> bool:
    """Whether one of them runs."""
    return _postgres().is_running or _redis().is_running


def _postgres() -> PostgresServer:
    port = places.port("POSTGRES_PORT", "DATABASE_URL", 5432)
    return PostgresServer(places.home() / "postgres", port, auth="scram-sha-256")


def _redis() -> RedisServer:
    return RedisServer(places.home() / "redis", places.port("REDIS_PORT", "REDIS_URL", 6379))


def _install_if_missing() -> None:
    try:
        postgres_bin()
        redis_server()
    except ProgramMissing as error:
        script = places.PROJECT / "scripts" / "install-servers.sh"
        if subprocess.run([script], check=False).returncode != 0:
            raise error from None
