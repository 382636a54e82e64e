"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flux.config import (
    _SETTINGS,
    Settings,
    SettingsError,
    find_file,
    load_settings,
    sqlite_path,
)
from flux.domain.duration import DAY, HOUR, SECOND
from flux.domain.shares import QueueShares

EXAMPLE = Path(__file__).parents[2] / "flux.toml.example"
WITHOUT_DEFAULT = ("database_direct_url", "redis_url", "broker_url", "smtp_url", "metrics_port")


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "flux.toml"
    file.write_text(text)
    return file


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert settings.database_url == "sqlite:///flux.db"
    assert (settings.api_port, settings.grpc_port, settings.dashboard_port) == (8080, 9090, 8081)
    assert settings.api_host == "127.0.0.1"
    assert settings.worker_concurrency == 10
    assert settings.worker_queues == QueueShares({}, every=True)
    assert (settings.scheduler_interval, settings.lease) == (SECOND, 30 * SECOND)
    assert settings.unknown_type_wait == HOUR
    assert settings.bounds.max_payload == 1 << 20
    assert settings.retention.succeeded == 7 * DAY


def test_reads_every_name_of_the_environment() -> None:
    settings = load_settings(
        {
            "DATABASE_URL": "sqlite:////var/lib/flux.db",
            "API_PORT": "18080",
            "GRPC_PORT": "19090",
            "DASHBOARD_PORT": "18081",
            "WORKER_CONCURRENCY": "3",
            "WORKER_QUEUES": "default,email:5",
            "SCHEDULER_INTERVAL": "250ms",
            "FLUX_LEASE": "5",
            "FLUX_SHUTDOWN_GRACE": "1m",
            "FLUX_UNKNOWN_TYPE_WAIT": "0",
            "FLUX_MAX_PAYLOAD": "2MB",
            "FLUX_MAX_RESULT": "4096",
            "FLUX_RETENTION_SUCCEEDED": "1d",
            "FLUX_RETENTION_MOST": "off",
            "FLUX_LOG_LEVEL": "DEBUG",
            "FLUX_LOG_FORMAT": "json",
            "FLUX_API_HOST": "0.0.0.0",
            "FLUX_DEMO_DIR": "/tmp/demo",
            "FLUX_OUTBOX": "mail",
            "SMTP_URL": "smtp://localhost:1025",
            "FLUX_NAMESPACE": "default",
            "FLUX_DEBUG": "1",
            "FLUX_TEST_BROWSER": "/usr/bin/chromium",
            "REDIS_URL": "",
            "HOME": "/root",
        }
    )
    assert settings.database_file == "/var/lib/flux.db"
    assert settings.worker_queues == QueueShares({"default": None, "email": 5}, every=False)
    assert settings.scheduler_interval == 250_000
    assert settings.lease == 5 * SECOND
    assert settings.unknown_type_wait == 0
    assert (settings.max_payload, settings.max_result) == (2 << 20, 4096)
    assert (settings.retention_succeeded, settings.retention_most) == (DAY, None)
    assert (settings.log_level, settings.log_format) == ("debug", "json")
    assert settings.demo_dir == Path("/tmp/demo")
    assert settings.redis_url is None
    assert settings.debug


def test_the_file_wins_over_the_environment_and_flags_over_both(tmp_path: Path) -> None:
    file = written(tmp_path, 'api_port = 2222\nlease = "7s"\nworker_queues = ["a", "b:2"]\n')
    environ = {"API_PORT": "1111", "FLUX_LEASE": "3s", "WORKER_CONCURRENCY": "4"}
    settings = load_settings(environ, file, {"api_port": "3333", "lease": None})
    assert settings.api_port == 3333
    assert settings.lease == 7 * SECOND
    assert settings.worker_concurrency == 4
    assert settings.worker_queues == QueueShares({"a": None, "b": 2}, every=False)


def test_a_commands_own_defaults_come_first() -> None:
    defaults = {"unknown_type_wait": 0}
    assert load_settings({}, None, None, defaults).unknown_type_wait == 0
    assert (
        load_settings({"FLUX_UNKNOWN_TYPE_WAIT": "2s"}, None, None, defaults).unknown_type_wait == 2 * SECOND
    )


def test_a_missing_file_is_none(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / "flux.toml") == Settings()


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"FLUX_LEASES": "5s"}, r"FLUX_LEASES is not a setting of Flux; did you mean FLUX_LEASE\?"),
        ({"FLUX_QWERTY": "5s"}, "FLUX_QWERTY is not a setting of Flux; flux.toml.example"),
        ({"API_PORT": "http"}, "API_PORT='http' is not a whole number from 1 to 65,535"),
        ({"API_PORT": "70000"}, "API_PORT='70000' is not a whole number"),
        ({"WORKER_CONCURRENCY": "0"}, "WORKER_CONCURRENCY='0'"),
        ({"FLUX_LEASE": "soon"}, "FLUX_LEASE='soon': 'soon' is not a duration"),
        ({"FLUX_LEASE": "1ms"}, "FLUX_LEASE='1ms' must be at least 300ms"),
        ({"FLUX_LEASE": "nan"}, "FLUX_LEASE='nan'"),
        ({"FLUX_SHUTDOWN_GRACE": "-1s"}, "must not be negative"),
        ({"FLUX_MAX_PAYLOAD": "big"}, "FLUX_MAX_PAYLOAD='big'"),
        ({"WORKER_QUEUES": "a:0"}, "WORKER_QUEUES='a:0' gives a 0 slots"),
        ({"FLUX_LOG_LEVEL": "loud"}, "is not one of debug, info, warning, error"),
        ({"FLUX_RETENTION_MOST": "-1"}, "off lifts the bound"),
        ({"FLUX_NAMESPACE": "mine"}, "one namespace for now"),
        ({"FLUX_DEBUG": "maybe"}, "neither 1 nor 0"),
        ({"SMTP_URL": "localhost"}, "is not a mail server"),
        ({"DATABASE_URL": "mysql://x/y"}, "is not a database that Flux knows"),
        ({"DATABASE_URL": "postgres://flux:flux123@localhost:port/flux"}, "cannot be read; write it like"),
        ({"DATABASE_URL": "postgres://flux:flux123@db/flux?connect_timeout=x"}, "no number of seconds"),
        ({"DATABASE_DIRECT_URL": "sqlite:///flux.db"}, "is not a PostgreSQL database"),
        ({"DATABASE_POOLER": "session"}, "is not one of none, transaction"),
        ({"REDIS_URL": "nats://localhost"}, "REDIS_URL='nats://localhost' is not a Redis"),
        ({"FLUX_BROKER_URL": "nats://localhost"}, "with the next release"),
        ({"FLUX_BROKER_URL": "pigeon://x"}, "is not a broker that Flux knows"),
    ],
)
def test_a_bad_value_is_one_line_that_says_which_and_why(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as refused:
        load_settings(environ)
    assert "\n" not in str(refused.value)
    assert "flux123" not in str(refused.value)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "wrker_concurrency = 3\n")
    with pytest.raises(SettingsError) as refused:
        load_settings({"API_PORT": "x", "FLUX_NO": "1"}, file, {"worker_concurrency": 0})
    text = str(refused.value)
    for part in ("API_PORT", "FLUX_NO", "did you mean worker_concurrency", "--concurrency '0'"):
        assert part in text
    assert "\n" not in text


def test_a_file_that_is_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"flux\.toml cannot be read: "):
        load_settings({}, written(tmp_path, "api_port = = 3"))


def test_a_value_of_the_wrong_kind_in_the_file_is_said(tmp_path: Path) -> None:
    file = written(
        tmp_path, "api_port = true\nlease = []\nworker_queues = 3\ndatabase_url = 1\nmax_payload = 0\n"
    )
    with pytest.raises(SettingsError) as refused:
        load_settings({}, file)
    for name in ("api_port", "lease", "worker_queues", "database_url", "max_payload"):
        assert name in str(refused.value)


def test_another_file_can_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, "api_port = 1234")
    assert find_file({"FLUX_CONFIG": str(file)}) == file
    assert find_file({}) == Path("flux.toml")
    assert load_settings({"FLUX_CONFIG": str(file)}, file).api_port == 1234
    with pytest.raises(SettingsError, match="is not a file"):
        find_file({"FLUX_CONFIG": str(tmp_path / "no.toml")})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///flux.db", "flux.db"),
        ("sqlite:///data/flux.db", "data/flux.db"),
        ("sqlite:////var/lib/flux.db", "/var/lib/flux.db"),
        ("sqlite:///my%20queue.db", "my queue.db"),
        ("SQLITE:///flux.db", "flux.db"),
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_sqlite_urls(url: str, path: str) -> None:
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    "url", ["flux.db", "sqlite:flux.db", "sqlite://host/flux.db", "sqlite:///f.db?mode=ro"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///flux\.db"):
        sqlite_path(url)


def test_the_example_file_names_every_setting_and_its_lines_are_right(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    shown = dict(re.findall(r"^# (\w+) = (.+)$", text, re.MULTILINE))
    # Not to be set: there is one namespace, and debugging is for a moment.
    assert set(shown) == set(_SETTINGS) - {"namespace", "debug"}
    defaults = {name: line for name, line in shown.items() if name not in WITHOUT_DEFAULT}
    file = written(tmp_path, "\n".join(f"{name} = {line}" for name, line in defaults.items()))
    assert load_settings({}, file) == Settings()


def test_importing_it_loads_no_driver_and_no_framework() -> None:
    heavy = ("sqlite3", "asyncio", "typer", "uvicorn")
    code = f"import sys, flux.config; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
