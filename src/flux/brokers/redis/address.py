"""Where a Redis is and how to get in: its URL, as redis-py reads it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from flux.brokers.redis.wire import Wire

_WITHOUT_A_NAME: Final = "default"
"""The user of a password that comes alone."""


class Address:
    """One Redis, and who we are there."""

    def __init__(self, url: str) -> None:
        """Raises ``ValueError`` or ``TypeError`` for a URL that cannot be used."""
        try:
            # Made for what it has read out of the URL, and never connected.
            pool: Any = ConnectionPool.from_url(_redis_url(url))
            self._read = pool.make_connection()
            self._tls: ssl.SSLContext | None = (
                self._read.ssl_context.get() if hasattr(self._read, "ssl_context") else None
            )
        except (RedisError, OSError) as error:  # OSError: certificates that are not there
            raise ValueError(str(error)) from error
        self.shown = _shown(url)
        """Without user, password and options."""

    async def connect(self) -> Wire:
        """A new connection, let in and in its database. Raises ``OSError`` or ``Refused``."""
        loop = asyncio.get_running_loop()
        if (path := getattr(self._read, "path", None)) is not None:
            _, wire = await loop.create_unix_connection(Wire, path)
        else:
            _, wire = await loop.create_connection(Wire, self._read.host, self._read.port, ssl=self._tls)
            connected: socket.socket = wire.transport.get_extra_info("socket")
            # So that one that has vanished without a word is found out while nobody asks it anything.
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            await self._enter(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    async def _enter(self, wire: Wire) -> None:
        read = self._read
        hello: list[str | int] = ["HELLO", 3]
        if read.credential_provider is not None:
            *user, password = read.credential_provider.get_credentials()
            hello += ["AUTH", *(user or [_WITHOUT_A_NAME]), password]
        elif read.username or read.password:
            hello += ["AUTH", read.username or _WITHOUT_A_NAME, read.password or ""]
        answers = [wire.ask(*hello)]
        if read.client_name:
            answers.append(wire.ask("CLIENT", "SETNAME", read.client_name))
        if read.db:
            answers.append(wire.ask("SELECT", read.db))
        for error in await asyncio.gather(*answers, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error


def _redis_url(url: str) -> str:
    """redis-py knows Valkey by Redis's own name."""
    scheme, separator, rest = url.partition("://")
    return {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme) + separator + rest


def _shown(url: str) -> str:
    rest = url.partition("://")[2].partition("?")[0]
    return rest.rpartition("@")[2] or rest
