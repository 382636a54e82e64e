"""What `flux doctor` says of a PostgreSQL without and with a standby that every commit waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from scripts.servers.postgres import PostgresServer
from scripts.servers.processes import until
from tests.integration.cli.conftest import Flux
from tests.servers.private import Servers
from tests.servers.schema import migrate

SYNCED = "every commit is synced to the server's disk"


@pytest.fixture
def durability(
    flux: Flux, private_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """The doctor's word on it."""
    migrate(private_postgres.url)
    monkeypatch.setenv("DATABASE_URL", private_postgres.url)

    def said() -> str:
        document: Any = flux("doctor", "--json").json
        [check] = [check for check in document["checks"] if check["name"] == "durability"]
        assert check["state"] == "ok"
        return str(check["text"])

    return said


def test_doctor_says_whether_a_fail_over_may_lose_something(
    durability: Callable[[], str], servers: Servers, private_postgres: PostgresServer
) -> None:
    assert durability() == f"{SYNCED}; without a synchronous standby a fail-over may lose the last ones"
    servers.standby(private_postgres)
    # A standby that follows when it can is none that a commit waits for.
    assert "without a synchronous standby" in durability()
    with psycopg.connect(private_postgres.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
        assert until(lambda: connection.execute("SHOW synchronous_standby_names").fetchone() == ("*",))
        assert durability() == f"{SYNCED} and to a synchronous standby"
        # One that asks for less is not waited for either.
        connection.execute("ALTER DATABASE flux SET synchronous_commit = local")
        assert "without a synchronous standby" in durability()
