"""Connections whose other end has fallen silent."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from flux.domain.errors import Unavailable
from flux.domain.ids import IdSource
from flux.domain.job import NewJob
from flux.engine.clock import SystemClock
from flux.stores.postgres import database as databases
from flux.stores.postgres.database import HOT, Database, Place
from flux.stores.postgres.silence import LONGEST, LONGEST_OF_HANDLERS
from flux.stores.postgres.store import PostgresStore
from tests.servers.private import Servers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options have Linux's names")

PROJECT = Path(__file__).parents[3]
SHOWN = """SELECT array_agg(current_setting(name)::int ORDER BY name) FROM unnest(ARRAY['tcp_keepalives_count',
           'tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_user_timeout']) AS name"""


def options_of(connection: asyncpg.Connection) -> list[int]:
    found = connection._transport.get_extra_info("socket")
    tcp = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return [found.getsockopt(socket.IPPROTO_TCP, option) for option in tcp]


async def test_both_ends_watch_each_connection(database_url: str) -> None:
    database = Database(Place(url=database_url))
    for connect, longest in (
        (database.connect, LONGEST),
        (database.connect_directly, LONGEST),
        (database.connect_for_handlers, LONGEST_OF_HANDLERS),
    ):
        connection = await connect()
        assert connection is not None
        expected = [2, longest // 2, longest // 4, 1000 * longest]
        assert options_of(connection) == expected
        assert await connection.fetchval(SHOWN) == expected
        await connection.close()


async def test_one_silent_connection_casts_doubt_on_the_idle_ones(
    servers: Servers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of them would have to be waited for, one after the other."""
    monkeypatch.setattr(databases, "_COMMAND", 2.0)
    proxy = servers.proxy(database_url)
    store = PostgresStore(Place(url=proxy.url))
    await store.open()
    source = IdSource(SystemClock().now)
    await asyncio.gather(*(store.jobs.insert([[NewJob(id=source.new(), type="t")]]) for _ in range(HOT)))
    proxy.forget()
    with pytest.raises(Unavailable, match="did not answer in time"):
        await store.jobs.insert([[NewJob(id=source.new(), type="t")]])
    [[accepted]] = await store.jobs.insert([[NewJob(id=source.new(), type="t")]])
    assert accepted.how == "created"
    await store.close()


def _in_a_network_of_its_own(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", f"ip link set lo up && exec {shlex.join(command)}"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_network_that_drops_everything_is_noticed() -> None:
    """Whether something was to be sent or an answer is awaited. Unwatched that takes a quarter of an hour or longer."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip"))):
        pytest.skip("a network of its own takes root, unshare and ip")
    if _in_a_network_of_its_own("ip", "link", "set", "lo", "down").returncode:
        pytest.skip("a network of its own cannot be made here")
    done = _in_a_network_of_its_own(sys.executable, "-m", "tests.integration.postgres.black_hole")
    assert done.stdout.splitlines() == [
        "sent: ConnectionDoesNotExistError",
        "awaited: ConnectionDoesNotExistError",
        "server: gave the session up",
    ], done.stderr
