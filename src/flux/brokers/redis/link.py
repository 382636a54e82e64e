"""The connection to one Redis: whether it can be used now, and a word to people when that changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.resources import files
from random import Random
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from flux.domain.errors import FluxError, Unavailable

logger = logging.getLogger("flux.redis")

ANSWER: Final = 2.0
"""Seconds within which Redis has to answer; past that it counts as away, so that nobody hangs with it."""

CONNECTIONS: Final = 8
"""The most connections of one process, besides the one on which it listens."""

FIRST_RETRY, LAST_RETRY = 0.05, 5.0
"""Seconds between two attempts to reach a Redis that is away; each a random part of it longer."""

OLDEST: Final = (7, 0)

_SCRIPTS = ("publish", "receive", "settle", "takeover", "reopen")
RAW: Final = ("XRANGE", "HGETALL")
"""Commands whose answers are taken as they come: redis-py makes dictionaries of them, at twice the cost."""

TROUBLES: Final = (RedisError, OSError, TimeoutError, RuntimeError)
"""What says that Redis cannot be used now. uvloop answers a write on a connection that broke a moment ago with a
RuntimeError, which redis-py lets through."""


class Unfit(FluxError):
    """This Redis must not be used as it is set up; the text says why and what to do."""


class Link:
    """Calls the scripts on one Redis. Once a call has failed all do, at once, until an attempt gets through again."""

    def __init__(self, url: str, namespace: str, random: Random) -> None:
        self._client = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                _redis_url(url),
                max_connections=CONNECTIONS,
                timeout=ANSWER,
                socket_timeout=ANSWER,
                socket_connect_timeout=ANSWER,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        )
        for command in RAW:
            self._client.response_callbacks.pop(command, None)
        self._execute: Callable[..., Awaitable[Any]] = self._client.execute_command
        self.prefix = f"flux:{{{namespace}}}:"
        self.where = _shown(url)
        self.trouble: str | None = f"Redis at {self.where} has not been asked yet."
        """A sentence for people; None while all is well."""
        self._random = random
        self._texts = {name: _text("common") + _text(name) for name in _SCRIPTS}
        self._digests: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._mending: asyncio.Task[None] | None = None
        self._since = 0.0
        self._closed = False

    # --- its life ---

    async def open(self) -> None:
        """Look at it. One that is away is waited for in the background. Raises ``Unfit``."""
        try:
            await self._check()
        except TROUBLES as error:
            self._lost(error)
        except BaseException:
            await self.close()
            raise
        else:
            self.trouble = None

    async def close(self) -> None:
        """Give the connections back."""
        self._closed = True
        self.trouble = f"The connection to Redis at {self.where} is closed."
        self._tell()
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        await self._client.aclose()
        await self._client.connection_pool.aclose()

    @property
    def up(self) -> bool:
        """Whether it can be used."""
        return self.trouble is None

    async def change(self, timeout: float) -> None:
        """Return when it has come or gone, or after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def health(self) -> str | None:
        """Look at it again: None when well, else the sentence."""
        if self.trouble is None:
            try:
                await self._check()
            except Unfit as error:
                self._unfit(error)
            except TROUBLES as error:
                self._lost(error)
        return self.trouble

    # --- calls ---

    async def run(self, script: str, *arguments: str | int) -> Any:
        """Run a script under this namespace's prefix. Raises ``Unavailable``."""
        return await self._guarded(self._eval, script, arguments)

    async def command(self, *words: str | int) -> Any:
        """Execute a command; keys get the prefix by whoever asks. Raises ``Unavailable``."""
        return await self._guarded(self._execute, *words)

    def listener(self) -> PubSub:
        """A connection that listens, not yet connected."""
        return self._client.pubsub()

    def lost(self, error: Exception) -> None:
        """Somebody who listens has found it away."""
        self._lost(error)

    async def _guarded(self, call: Any, *arguments: Any) -> Any:
        if self.trouble is not None:
            raise Unavailable(self.trouble)
        cancelled = cancellations()
        try:
            answer = await call(*arguments)
        except TROUBLES as error:
            self._lost(error)
            raise Unavailable(_said(error)) from error
        if cancellations() > cancelled:
            raise asyncio.CancelledError
        return answer

    async def _eval(self, script: str, arguments: tuple[str | int, ...]) -> Any:
        digest = self._digests.get(script)
        if digest is not None:
            try:
                return await self._execute("EVALSHA", digest, 1, self.prefix, *arguments)
            except NoScriptError:
                pass  # it was restarted, or its scripts flushed
        loaded = await self._execute("SCRIPT LOAD", self._texts[script])
        self._digests[script] = digest = loaded if isinstance(loaded, str) else loaded.decode()
        return await self._execute("EVALSHA", digest, 1, self.prefix, *arguments)

    # --- fit for it? ---

    async def _check(self) -> None:
        """Raises ``Unfit``, or whatever keeps it from answering."""
        try:
            server = await self._client.info("server")
            memory = await self._client.info("memory")
        except NoPermissionError:
            logger.warning(
                "the user of Redis at %s may not call INFO, so nobody knows whether it evicts keys: let it, with +info",
                self.where,
            )
            server, memory = {}, {}
        version = str(server.get("redis_version", "7.0"))
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise Unfit(f"Redis at {self.where} is version {version}; Flux needs 7.0 or newer, or Valkey.")
        if server.get("redis_mode") == "cluster":
            raise Unfit(f"Redis at {self.where} is a cluster; Flux needs a single primary.")
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise Unfit(
                f"Redis at {self.where} throws keys away when it is full (maxmemory-policy {policy}), and hints with "
                "them: set maxmemory-policy noeviction there, or give Flux a Redis of its own."
            )
        # A script that could write is refused where there is no memory or no right to.
        await self._eval("settle", (0,))

    # --- trouble ---

    def _lost(self, error: Exception) -> None:
        self._fail(f"Redis at {self.where} cannot be used ({_said(error)}).")

    def _unfit(self, error: Unfit) -> None:
        self._fail(str(error))

    def _fail(self, trouble: str) -> None:
        if self._closed or (self.trouble is not None and self._mending is not None):
            return
        self.trouble = trouble
        self._since = asyncio.get_running_loop().time()
        logger.warning(
            "%s Jobs run all the same: workers look into the database themselves, and start them a little later",
            trouble,
        )
        self._tell()
        self._mending = asyncio.create_task(self._mend(), name="flux-redis-reconnect")

    async def _mend(self) -> None:
        delay = FIRST_RETRY
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(delay * (0.5 + self._random.random()))
            delay = min(LAST_RETRY, delay * 2)
            try:
                await self._check()
                if cancellations():
                    return
                break
            except Unfit as error:
                self.trouble = str(error)
            except Exception as error:
                # Whatever it is: who ends here gives Redis up for as long as the process lives.
                self.trouble = f"Redis at {self.where} cannot be used ({_said(error)})."
        self.trouble = None
        self._mending = None
        logger.info("Redis at %s is back after %.1f s", self.where, loop.time() - self._since)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def cancellations() -> int:
    """How often the current task was cancelled.

    redis-py swallows a cancellation that finds it looking whether a connection is still good: whoever calls it compares
    before and after.
    """
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _text(name: str) -> str:
    return files("flux.brokers.redis").joinpath(f"{name}.lua").read_text("utf-8")


def _redis_url(url: str) -> str:
    """redis-py knows Valkey by Redis's own name."""
    scheme, separator, rest = url.partition("://")
    return {"valkey": "redis", "valkeys": "rediss"}.get(scheme, scheme) + separator + rest


def _shown(url: str) -> str:
    """Where it is, without user, password and options."""
    rest = url.partition("://")[2].partition("?")[0]
    return rest.rpartition("@")[2] or rest


def _said(error: Exception) -> str:
    text = str(error).strip()
    return text if text else type(error).__name__
