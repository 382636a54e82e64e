"""The link to one Redis: whether it can be used now, and a word to people when that changes."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import logging
from collections.abc import Callable, Coroutine
from importlib.resources import files
from random import Random
from typing import Any, Final, NamedTuple

from flux.brokers.redis.address import Address
from flux.brokers.redis.wire import ANSWER, Refused, Wire
from flux.domain.errors import FluxError, Unavailable

logger = logging.getLogger("flux.redis")

FIRST_RETRY, LAST_RETRY = 0.05, 5.0
"""Seconds between two attempts to reach a Redis that is away; each a random part of it longer."""

OLDEST: Final = (7, 0)

_SCRIPTS = ("publish", "receive", "settle", "takeover", "reopen")

TROUBLES: Final = (Refused, OSError, TimeoutError, RuntimeError)
"""What says that Redis cannot be used now. RuntimeError is how uvloop says that a connection broke a moment ago."""


class Unfit(FluxError):
    """This Redis must not be used as it is set up; the text says why and what to do."""


class Call(NamedTuple):
    """A script that is to run, and the answer to come when it was sent."""

    script: str
    arguments: tuple[str | int, ...]
    sent: asyncio.Future[Any] | None


class Link:
    """Calls the scripts on one Redis. Once a call has failed all do, at once, until an attempt gets through again.

    A connection that ends while nobody waits for an answer is no trouble: it is made anew, at once when something is to
    be heard on it, else with the next call.
    """

    def __init__(self, url: str, namespace: str, random: Random) -> None:
        """Raises ``ValueError`` or ``TypeError`` for a URL that cannot be used."""
        self._address = Address(url)
        self.prefix = f"flux:{{{namespace}}}:"
        self.where = self._address.shown
        self.trouble: str | None = f"Redis at {self.where} has not been asked yet."
        """A sentence for people; None while all is well."""
        self.returned: Callable[[], None] = _nothing
        """Called after a connection was lost and made anew: what was said meanwhile was not heard."""
        self._random = random
        self._scripts = {name: _script(name) for name in _SCRIPTS}
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._heard: dict[bytes, Callable[[str], None]] = {}
        self._reconnecting: asyncio.Task[None] | None = None
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
        """Hang up."""
        self._closed = True
        self.trouble = f"The connection to Redis at {self.where} is closed."
        tasks = [task for task in (self._mending, self._reconnecting) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._wire is not None:
            self._wire.close()

    @property
    def up(self) -> bool:
        """Whether it can be used."""
        return self.trouble is None

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
        return await self.answer(self.send(script, *arguments))

    def send(self, script: str, *arguments: str | int) -> Call:
        """Let a script run; where there is a connection it is on its way when this returns. ``answer`` must follow."""
        sent = None
        if self.trouble is None and self._wire is not None and not self._wire.closed:
            _, digest = self._scripts[script]
            sent = self._wire.ask("EVALSHA", digest, 1, self.prefix, *arguments)
        return Call(script, arguments, sent)

    async def answer(self, call: Call) -> Any:
        """What a script that was sent has answered. Raises ``Unavailable``."""
        if call.sent is None and self.trouble is not None:
            raise Unavailable(self.trouble)
        try:
            return await self._eval(call)
        except TROUBLES as error:
            self._lost(error)
            raise Unavailable(_said(error)) from error

    async def command(self, *words: str | int) -> Any:
        """Execute a command; keys get the prefix by whoever asks. Raises ``Unavailable``."""
        if self.trouble is not None:
            raise Unavailable(self.trouble)
        try:
            return await self._ask(*words)
        except TROUBLES as error:
            self._lost(error)
            raise Unavailable(_said(error)) from error

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Hear what is said on a channel from now on, also on connections to come."""
        if channel.encode() in self._heard:
            return
        self._heard[channel.encode()] = heard
        if self._wire is not None and not self._wire.closed:
            # Sent at once: whatever is asked after it is answered after it.
            self._wire.ask("SUBSCRIBE", channel).add_done_callback(self._subscribed)

    async def _eval(self, call: Call) -> Any:
        text, digest = self._scripts[call.script]
        try:
            return await (call.sent or self._ask("EVALSHA", digest, 1, self.prefix, *call.arguments))
        except Refused as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # It was restarted, or its scripts flushed.
        return await self._ask("EVAL", text, 1, self.prefix, *call.arguments)

    async def _ask(self, *words: str | int) -> Any:
        wire = self._wire
        if wire is None or wire.closed:
            wire = await self._connect()
        return await wire.ask(*words)

    # --- its connection ---

    async def _connect(self) -> Wire:
        async with self._connecting:
            if self._wire is not None and not self._wire.closed:
                return self._wire  # somebody else has made it meanwhile
            wire = await self._made()
            if self._closed:
                wire.close()
                raise OSError(self.trouble)
            again, self._wire = self._wire is not None, wire
            if again and self.trouble is None:
                self.returned()
            return wire

    async def _made(self) -> Wire:
        async with asyncio.timeout(ANSWER):
            wire = await self._address.connect()
            wire.heard = self._hear
            wire.lost = self._hung_up
            try:
                await asyncio.gather(*(wire.ask("SUBSCRIBE", channel) for channel in self._heard))
            except BaseException:
                wire.close()
                raise
            return wire

    def _hear(self, channel: bytes, text: bytes) -> None:
        if (heard := self._heard.get(channel)) is not None:
            heard(text.decode())

    def _subscribed(self, answer: asyncio.Future[Any]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if isinstance(error, Refused):
            self._lost(error)

    def _hung_up(self) -> None:
        """The connection has ended."""
        if self._closed or not self._heard or self._reconnecting is not None:
            return
        self._reconnecting = _in_background(self._reconnect(), "reconnect")

    async def _reconnect(self) -> None:
        """So that those who listen hear again. Whoever waited for an answer has said first that there is trouble."""
        try:
            if self.trouble is None:
                await self._connect()
        except TROUBLES as error:
            self._lost(error)
        finally:
            self._reconnecting = None

    # --- fit for it? ---

    async def _check(self) -> None:
        """Raises ``Unfit``, or whatever keeps it from answering."""
        try:
            server = _told(await self._ask("INFO", "server"))
            memory = _told(await self._ask("INFO", "memory"))
        except Refused as error:
            if not str(error).startswith("NOPERM"):
                raise
            logger.warning(
                "the user of Redis at %s may not call INFO, so nobody knows whether it evicts keys: let it, with +info",
                self.where,
            )
            server, memory = {}, {}
        version = server.get("redis_version", "7.0")
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
        await self._eval(Call("settle", (0,), None))

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
        self._mending = _in_background(self._mend(), "mend")

    async def _mend(self) -> None:
        delay = FIRST_RETRY
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(delay * (0.5 + self._random.random()))
            delay = min(LAST_RETRY, delay * 2)
            try:
                await self._check()
                break
            except Unfit as error:
                self.trouble = str(error)
            except Exception as error:
                # Whatever it is: who ends here gives Redis up for as long as the process lives.
                self.trouble = f"Redis at {self.where} cannot be used ({_said(error)})."
        self.trouble = None
        self._mending = None
        logger.info("Redis at %s is back after %.1f s", self.where, loop.time() - self._since)
        self.returned()


def _in_background(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """In a context of its own: it works for all, whoever came first."""
    loop = asyncio.get_running_loop()
    return loop.create_task(work, name=f"flux-redis-{name}", context=contextvars.Context())


def _script(name: str) -> tuple[str, str]:
    """The text of a script, and by what Redis knows it."""
    common, own = (
        files("flux.brokers.redis").joinpath(f"{one}.lua").read_text("utf-8") for one in ("common", name)
    )
    text = common + own
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _told(info: bytes) -> dict[str, str]:
    """The answer of INFO by name."""
    lines = (line.partition(":") for line in info.decode().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}


def _said(error: Exception) -> str:
    text = str(error).strip()
    return text if text else type(error).__name__


def _nothing() -> None:
    """Nobody needs to know."""
