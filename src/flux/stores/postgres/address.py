"""Where the database is: a libpq URL, in the words of the driver."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from flux.domain.errors import FluxError

SCHEMES = ("postgres", "postgresql")

_NOT_THE_DRIVERS = frozenset(
    {
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "replication",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""What libpq knows and asyncpg would hand to the server as a setting, which refuses it."""

CONNECT_TIMEOUT = 10.0


class Address(msgspec.Struct, frozen=True):
    """A checked URL: what the driver takes, how long connecting may take (seconds), how errors call the place."""

    url: str
    timeout: float
    shown: str
    application: str


def read_address(url: str) -> Address:
    """Read a URL. Raises ValueError with the reason, which never holds the password."""
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise ValueError(
            "is not a PostgreSQL database; write it like postgres://user:password@host:5432/flux"
        )
    try:
        ports = [
            host.rpartition(":")[2] for host in parts.netloc.rpartition("@")[2].split(",") if ":" in host
        ]
        if any(not (port.endswith("]") or (port.isdecimal() and 0 < int(port) < 65_536)) for port in ports):
            raise ValueError
        asked = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(
            "cannot be read; write it like postgres://user:password@host:5432/flux?sslmode=require"
        ) from None
    options = dict(asked)
    try:
        timeout = float(options.get("connect_timeout") or CONNECT_TIMEOUT)
    except ValueError:
        raise ValueError("has a connect_timeout that is no number of seconds") from None
    application = options.get("application_name") or options.get("fallback_application_name") or "flux"
    kept = [
        (name, value) for name, value in asked if name not in _NOT_THE_DRIVERS and name != "application_name"
    ]
    host = parts.netloc.rpartition("@")[2] or options.get("host") or "localhost"
    name = parts.path.lstrip("/") or options.get("dbname") or options.get("database")
    return Address(
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(kept), "")),
        timeout=max(timeout, 1.0) if timeout > 0 else CONNECT_TIMEOUT,
        shown=f"the database {name!r} at {host}" if name else f"the database at {host}",
        application=application,
    )


def driver() -> Any:
    """asyncpg. Raises ``FluxError`` with what to do when it is not installed."""
    try:
        import asyncpg
    except ImportError:
        raise FluxError(
            'PostgreSQL needs asyncpg, which is not installed: pip install "flux[postgres]"'
        ) from None
    return asyncpg
