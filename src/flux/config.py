"""All settings: read once at the start, checked, and passed down as one value.

The defaults come first, then the environment, then ``flux.toml``, then flags; the last that says something wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from flux.domain.duration import DAY, HOUR, SECOND, parse_duration
from flux.domain.errors import FluxError
from flux.domain.shares import EVERY_QUEUE, QueueShares, parse_queues
from flux.domain.size import parse_size

if TYPE_CHECKING:
    from flux.domain.request import Bounds
    from flux.engine.engine import Engine
    from flux.engine.ports import Broker, Retention, Store

CONFIG_FILE = "flux.toml"

_REDIS = ("redis", "rediss", "valkey", "valkeys", "unix")


class SettingsError(FluxError):
    """The settings cannot be used; the text is one line that says which and why."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations are microseconds, sizes bytes; None is "no bound" or "not used"."""

    database_url: str = "sqlite:///flux.db"
    database_direct_url: str | None = None
    database_pooler: str = "none"
    allow_lossy_commit: bool = False
    redis_url: str | None = None
    broker_url: str | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    grpc_port: int = 9090
    dashboard_host: str = "127.0.0.1"
    dashboard_port: int = 8081
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    worker_concurrency: int = 10
    worker_queues: QueueShares = EVERY_QUEUE
    scheduler_interval: int = SECOND
    lease: int = 30 * SECOND
    shutdown_grace: int = 30 * SECOND
    unknown_type_wait: int = HOUR
    max_payload: int = 1 << 20
    max_result: int = 1 << 20
    retention_succeeded: int | None = 7 * DAY
    retention_dead: int | None = 30 * DAY
    retention_cancelled: int | None = 7 * DAY
    retention_most: int | None = 1_000_000
    log_level: str = "info"
    log_format: str = "auto"
    namespace: str = "default"
    demo_dir: Path = Path()
    outbox: Path = Path("outbox")
    smtp_url: str | None = None
    debug: bool = False

    @property
    def on_postgres(self) -> bool:
        """Whether the database is a PostgreSQL; else it is an SQLite file."""
        return is_postgres(self.database_url)

    @property
    def database_shown(self) -> str:
        """The database as people are told of it: where the file is, or the URL without its password."""
        if self.on_postgres:
            return _without_password(self.database_url)
        file = self.database_file
        return file if file == ":memory:" else str(Path(file).absolute())

    @property
    def database_file(self) -> str:
        """The path of the SQLite file, or ``:memory:``. Raises ValueError where there is none."""
        return sqlite_path(self.database_url)

    @property
    def bounds(self) -> Bounds:
        """The sizes that the engine refuses past."""
        from flux.domain.request import Bounds

        return Bounds(max_payload=self.max_payload, max_result=self.max_result)

    @property
    def leader_lease(self) -> int:
        """How long a leader that vanished keeps its stand-bys waiting: whoever wants lost jobs back soon wants a new
        rescuer as soon."""
        return min(10 * SECOND, self.lease)

    @property
    def retention(self) -> Retention:
        """How long finished jobs are kept."""
        from flux.engine.ports import Retention

        return Retention(
            succeeded=self.retention_succeeded,
            dead=self.retention_dead,
            cancelled=self.retention_cancelled,
            most=self.retention_most,
        )


def load_settings(
    environ: Mapping[str, str],
    file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Settings:
    """Settings from the environment, then ``file`` (where it exists), then ``overrides`` (by field, None: not given).

    ``defaults`` stand before all of them (`flux dev` has its own). Raises ``SettingsError`` with one line that names
    everything that is wrong.
    """
    values: dict[str, Any] = dict(defaults or {})
    wrong: list[str] = []
    for field, name, text in _of_environment(environ, wrong):
        _read(values, field, f"{name}={_shown(text)}", text, wrong)
    for field, name, raw in _of_file(file, wrong):
        _read(values, field, f"{name} = {_shown(raw)} in {file}", raw, wrong)
    for field, raw in (overrides or {}).items():
        if raw is not None:
            flag = _FLAGS.get(field, field).replace("_", "-")
            _read(values, field, f"--{flag} {_shown(raw)}", raw, wrong)
    if wrong:
        raise SettingsError("; ".join(" ".join(line.split()) for line in wrong))
    return Settings(**values)


def find_file(environ: Mapping[str, str]) -> Path:
    """``FLUX_CONFIG``, or ``flux.toml`` in the current directory. Raises ``SettingsError`` when it is missing."""
    named = environ.get("FLUX_CONFIG")
    if not named:
        return Path(CONFIG_FILE)
    if not Path(named).is_file():
        raise SettingsError(f"FLUX_CONFIG={named!r} is not a file")
    return Path(named)


def build_engine(settings: Settings, *, migrate: bool = True) -> Engine:
    """The engine on the store and broker that the settings name, not yet opened."""
    from flux.brokers.from_store import StoreBroker
    from flux.engine.clock import SystemClock
    from flux.engine.engine import Engine
    from flux.workflows.joining import with_workflows

    store = build_store(settings, migrate=migrate)
    broker: Broker = StoreBroker(store)
    url = settings.broker_url or settings.redis_url
    if url is not None:
        broker = _redis_broker(url, broker, settings.namespace)
    return with_workflows(Engine(store, broker, SystemClock(), bounds=settings.bounds))


def _redis_broker(url: str, by_policy: Broker, namespace: str) -> Broker:
    try:
        from flux.brokers.redis.broker import RedisBroker
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{_shown(url)} needs the client of Redis, which is not installed: pip install 'flux[redis]'"
        ) from error
    try:
        return RedisBroker(url, by_policy, namespace=namespace)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{_shown(url)} cannot be used: {error}") from error


def build_store(settings: Settings, *, migrate: bool = True) -> Store:
    """The store that the settings name, not yet opened. Raises ``FluxError`` when its driver is not installed."""
    if not settings.on_postgres:
        from flux.stores.sqlite.store import SqliteStore

        return SqliteStore(settings.database_file, migrate=migrate)
    from flux.stores.postgres.address import driver

    driver()  # says in words when it is missing, before anything imports it
    from flux.stores.postgres.database import Place
    from flux.stores.postgres.store import PostgresStore

    place = Place(
        url=settings.database_url,
        direct_url=settings.database_direct_url,
        pooler=settings.database_pooler == "transaction",
        lossy=settings.allow_lossy_commit,
    )
    hinted = (settings.broker_url or settings.redis_url) is not None
    return PostgresStore(place, namespace=settings.namespace, migrate=migrate, hinted=hinted)


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL."""
    return url.partition("://")[0].lower() in ("postgres", "postgresql")


def sqlite_path(url: str) -> str:
    """The file that ``sqlite:///…`` names. Raises ValueError for every other URL, with the reason."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if is_postgres(url):
        raise ValueError("is a PostgreSQL and no file")
    if not separator or scheme != "sqlite":
        raise ValueError(
            "is not a database that Flux knows; write it like sqlite:///flux.db or postgres://user:password@host/flux"
        )
    if rest in ("", "/", "/:memory:"):
        return ":memory:"
    if not rest.startswith("/"):
        raise ValueError("names a host, and SQLite has none; a file has three slashes: sqlite:///flux.db")
    if "?" in rest or "#" in rest:
        raise ValueError("has options after its file, and there are none; write it like sqlite:///flux.db")
    return unquote(rest[1:])


# --- one reader a kind of value: takes what was written, raises ValueError with the reason -------------------------


def _text(raw: object) -> str:
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("is not a text")
    return raw.strip()


def _database(raw: object) -> str:
    url = _text(raw)
    if is_postgres(url):
        return _postgres(raw)
    sqlite_path(url)
    return url


def _postgres(raw: object) -> str:
    from flux.stores.postgres.address import read_address

    url = _text(raw)
    read_address(url)
    return url


def _broker(raw: object) -> str:
    url = _text(raw)
    scheme = url.partition("://")[0].lower()
    if scheme in _REDIS:
        return url
    if scheme in ("amqp", "amqps", "nats", "kafka"):
        raise ValueError(
            f"a broker by {scheme}:// comes with the next release; without one the database is the broker"
        )
    raise ValueError("is not a broker that Flux knows; without one the database is the broker")


def _redis(raw: object) -> str:
    url = _text(raw)
    if url.partition("://")[0].lower() not in _REDIS:
        raise ValueError(
            "is not a Redis; write it like redis://user:password@host:6379/0, rediss:// with TLS"
        )
    return url


def _smtp(raw: object) -> str:
    url = _text(raw)
    scheme, _, rest = url.partition("://")
    address, _, option = rest.partition("?")
    if scheme not in ("smtp", "smtps") or not address:
        raise ValueError(
            "is not a mail server; write it like smtp://user:password@host:25, smtp://host:587?starttls or smtps://host"
        )
    if option not in ("", "starttls"):
        # A slip here would send the password as it is.
        raise ValueError(f"has the option {option[:50]!r}; the only one is ?starttls")
    return url


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(raw: object) -> int:
        number = raw
        if isinstance(raw, str) and raw.strip().removeprefix("-").isdecimal() and len(raw) < 20:
            number = int(raw)
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"is not a whole number from {least:,} to {most:,}")
        return number

    return read


def _duration(least: int, rule: str) -> Callable[[object], int]:
    def read(raw: object) -> int:
        value: Any = raw
        if isinstance(raw, str):
            try:
                # The environment has no numbers: "30" is thirty seconds there too.
                value = float(raw)
            except ValueError:
                value = raw
        us = parse_duration(value)
        if us < least:
            raise ValueError(rule)
        return us

    return read


def _unless_off(read: Callable[[object], int]) -> Callable[[object], int | None]:
    def read_or_off(raw: object) -> int | None:
        if isinstance(raw, str) and raw.strip().lower() == "off":
            return None
        try:
            return read(raw)
        except ValueError as error:
            raise ValueError(f"{error}; off lifts the bound") from None

    return read_or_off


def _size(raw: object) -> int:
    if not isinstance(raw, int | str):
        raise ValueError("is not a size")
    size = parse_size(raw)
    if size > 1 << 30:
        raise ValueError("is more than 1 GB, which no store keeps in a row")
    return size


def _queues(raw: object) -> QueueShares:
    if isinstance(raw, QueueShares):
        return raw
    if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
        return parse_queues(",".join(raw))
    if not isinstance(raw, str):
        raise ValueError('is not a list of queues; write it like "default,email:5"')
    return parse_queues(raw)


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(raw: object) -> str:
        if not isinstance(raw, str) or raw.strip().lower() not in choices:
            raise ValueError(f"is not one of {', '.join(choices)}")
        return raw.strip().lower()

    return read


def _namespace(raw: object) -> str:
    if raw != "default":
        raise ValueError("there is one namespace for now: default")
    return "default"


def _path(raw: object) -> Path:
    return raw if isinstance(raw, Path) else Path(_text(raw))


def _yes(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise ValueError("is neither 1 nor 0")


_port = _whole(1, 65_535)
_positive = _duration(1, "must be positive")

_SETTINGS: dict[str, tuple[str, Callable[[object], object]]] = {
    # field: (name in the environment, reader)
    "database_url": ("DATABASE_URL", _database),
    "database_direct_url": ("DATABASE_DIRECT_URL", _postgres),
    "database_pooler": ("DATABASE_POOLER", _one_of("none", "transaction")),
    "allow_lossy_commit": ("FLUX_ALLOW_LOSSY_COMMIT", _yes),
    "redis_url": ("REDIS_URL", _redis),
    "broker_url": ("FLUX_BROKER_URL", _broker),
    "api_host": ("FLUX_API_HOST", _text),
    "api_port": ("API_PORT", _port),
    "grpc_port": ("GRPC_PORT", _port),
    "dashboard_host": ("FLUX_DASHBOARD_HOST", _text),
    "dashboard_port": ("DASHBOARD_PORT", _port),
    "metrics_host": ("FLUX_METRICS_HOST", _text),
    "metrics_port": ("FLUX_METRICS_PORT", _port),
    "worker_concurrency": ("WORKER_CONCURRENCY", _whole(1, 10_000)),
    "worker_queues": ("WORKER_QUEUES", _queues),
    "scheduler_interval": ("SCHEDULER_INTERVAL", _duration(10_000, "must be at least 10ms")),
    # A heartbeat at a third of it has to fit in with a busy disk.
    "lease": ("FLUX_LEASE", _duration(300_000, "must be at least 300ms")),
    "shutdown_grace": ("FLUX_SHUTDOWN_GRACE", _duration(0, "must not be negative")),
    "unknown_type_wait": ("FLUX_UNKNOWN_TYPE_WAIT", _duration(0, "must not be negative")),
    "max_payload": ("FLUX_MAX_PAYLOAD", _size),
    "max_result": ("FLUX_MAX_RESULT", _size),
    "retention_succeeded": ("FLUX_RETENTION_SUCCEEDED", _unless_off(_positive)),
    "retention_dead": ("FLUX_RETENTION_DEAD", _unless_off(_positive)),
    "retention_cancelled": ("FLUX_RETENTION_CANCELLED", _unless_off(_positive)),
    "retention_most": ("FLUX_RETENTION_MOST", _unless_off(_whole(1, 10**12))),
    "log_level": ("FLUX_LOG_LEVEL", _one_of("debug", "info", "warning", "error")),
    "log_format": ("FLUX_LOG_FORMAT", _one_of("auto", "text", "json")),
    "namespace": ("FLUX_NAMESPACE", _namespace),
    "demo_dir": ("FLUX_DEMO_DIR", _path),
    "outbox": ("FLUX_OUTBOX", _path),
    "smtp_url": ("SMTP_URL", _smtp),
    "debug": ("FLUX_DEBUG", _yes),
}
_FLAGS = {"worker_concurrency": "concurrency", "worker_queues": "queues"}
_BY_VARIABLE = {variable: field for field, (variable, _) in _SETTINGS.items()}


def _of_environment(environ: Mapping[str, str], wrong: list[str]) -> Iterable[tuple[str, str, str]]:
    for name in sorted(environ):
        if name in _BY_VARIABLE:
            # Empty is unset: `REDIS_URL=` in an env file takes a line back.
            if environ[name].strip():
                yield _BY_VARIABLE[name], name, environ[name]
        elif name.startswith("FLUX_") and name != "FLUX_CONFIG" and not name.startswith("FLUX_TEST_"):
            wrong.append(
                f"{name} is not a setting of Flux{_did_you_mean(name, [*_BY_VARIABLE, 'FLUX_CONFIG'])}"
            )


def _of_file(file: Path | None, wrong: list[str]) -> Iterable[tuple[str, str, object]]:
    if file is None or not file.is_file():
        return
    import tomllib

    try:
        written = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        wrong.append(f"{file} cannot be read: {error}")
        return
    for name, raw in written.items():
        if name in _SETTINGS:
            yield name, name, raw
        else:
            wrong.append(f"{name} in {file} is not a setting of Flux{_did_you_mean(name, list(_SETTINGS))}")


def _read(values: dict[str, Any], field: str, shown: str, raw: object, wrong: list[str]) -> None:
    try:
        values[field] = _SETTINGS[field][1](raw)
    except ValueError as error:
        reason = str(error)
        predicate = reason.startswith(("is ", "names ", "gives ", "has ", "bounds ", "must "))
        wrong.append(f"{shown}{' ' if predicate else ': '}{reason}")


def _shown(raw: object) -> str:
    """A value as an error quotes it: short, and without a URL's password, since errors go to logs."""
    return repr(_without_password(str(raw))[:60])


def _without_password(url: str) -> str:
    import re

    return re.sub(r"(//[^/@:]*:)[^@]*@", r"\1***@", re.sub(r"([?&]password=)[^&]*", r"\1***", url))


def _did_you_mean(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; flux.toml.example lists them all"
