"""The database as the ports use it: transactions that are repeated when they met another one, and its connections.

A process has at most ``HOT`` connections for claims, outcomes and enqueues, ``CALM`` ones for everything else, one that
listens, and one for the heartbeat's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, TypeVar

import msgspec

from flux.domain.errors import FluxError, InDoubt, Unavailable
from flux.engine.ports import Topic
from flux.stores.postgres.address import Address, driver, read_address
from flux.stores.postgres.errors import DRIVER, explain, in_doubt, is_held_up, is_lost, must_repeat
from flux.stores.postgres.hub import Hub
from flux.stores.postgres.pool import Connection, Pool
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.silence import LONGEST, LONGEST_OF_HANDLERS, of_server, watch
from flux.stores.postgres.sql import Statement
from flux.stores.postgres.trouble import Trouble

T = TypeVar("T")
Work = Callable[[Session], Awaitable[T]]

logger = logging.getLogger("flux.postgres")

HOT = 3
CALM = 4

_REPEATS = 8
_COMMAND = 15.0
"""Seconds a statement may take: it may have to wait for a lock, and none of ours walks far. A pooler or a server that
takes everything and says nothing would otherwise keep a caller for ever: the network is alive, so ``silence.py`` sees
nothing."""

_PATIENCE = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "10s"}

_PLANNING = {"jit": "off", "enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
"""How our statements are planned: once, by their shape. With the values in sight a batch of a thousand looks so large
that a walk through the table seems cheaper, and each claim costs a millisecond of planning."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to connect.

    ``direct_url`` reaches the server past a pooler, for LISTEN. ``pooler``: the URL leads to one that hands out
    connections by transaction, so nothing may be left on a connection: no prepared statement, no setting.
    """

    url: str
    direct_url: str | None = None
    pooler: bool = False
    lossy: bool = False


class Database:
    """One database in one process; everything here belongs to the event loop that opened it."""

    def __init__(
        self,
        place: Place,
        *,
        namespace: str = "default",
        clock: Callable[[], int] | None = None,
        hub: Hub | None = None,
        random: Random | None = None,
        hot: int = HOT,
        calm: int = CALM,
    ) -> None:
        """``clock`` stands for the server's clock, in microseconds."""
        self.place = place
        self.namespace = namespace
        self.hub = hub or Hub()
        self.clock = clock
        self._address = read_address(place.url)
        self._random = random or Random()
        self._trouble = Trouble(self._address.shown) if hot else None  # a heartbeat has words of its own
        self._sizes = (hot, calm)
        self._hot: Pool | None = None
        self._calm: Pool | None = None
        self._begin = "BEGIN"
        if place.pooler:
            self._begin += "".join(f"; SET LOCAL {name} = '{value}'" for name, value in _PLANNING.items())
            self._begin += "".join(f"; SET LOCAL {name} = '{value}'" for name, value in _PATIENCE.items())

    def another(self) -> Database:
        """The same database once more, with a single connection of its own: for the heartbeat's thread.

        What is committed there wakes nobody here: who waits does so in another thread.
        """
        return Database(
            self.place,
            namespace=self.namespace,
            clock=self.clock,
            random=Random(self._random.random()),
            hot=0,
            calm=1,
        )

    @property
    def shown(self) -> str:
        """How errors call it."""
        return self._address.shown

    def now(self) -> int | None:
        """What stands for the server's clock; None: the clock itself."""
        return None if self.clock is None else self.clock()

    # --- life -------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Be ready to connect; False when it was already."""
        if self._calm is not None:
            return False
        hot, calm = self._sizes
        connect = partial(self.connect, _COMMAND)
        self._calm = Pool(connect, calm)
        self._hot = Pool(connect, hot) if hot else self._calm
        return True

    async def close(self) -> None:
        """Disconnect."""
        pools = {pool for pool in (self._hot, self._calm) if pool is not None}
        self._hot = self._calm = None
        for pool in pools:
            await pool.close()

    async def connect(self, patience: float | None = _COMMAND) -> Connection:
        """A new connection, on which a statement may take so many seconds. Raises ``Unavailable``."""
        settings = {"application_name": self._address.application}
        if not self.place.pooler:
            settings |= _PLANNING | _PATIENCE | of_server(LONGEST)
        cache = 0 if self.place.pooler else 256
        return await self._connect(self._address, settings, cache, patience)

    async def connect_for_handlers(self) -> Connection:
        """A connection as the server sets it up, for what handlers do. Raises ``Unavailable``."""
        settings = {"application_name": self._address.application}
        if not self.place.pooler:
            settings |= of_server(LONGEST_OF_HANDLERS)
        return await self._connect(
            self._address,
            settings,
            cache=0 if self.place.pooler else 100,
            patience=None,
            silence=LONGEST_OF_HANDLERS,
        )

    async def connect_directly(self) -> Connection | None:
        """A connection that may listen; None where a pooler is in between and no way past it is known.

        What is said on it needs no durability, so its commits wait for no disk.
        """
        if self.place.pooler and self.place.direct_url is None:
            return None
        address = read_address(self.place.direct_url or self.place.url)
        settings = {"application_name": address.application, "synchronous_commit": "off"}
        return await self._connect(address, settings | of_server(LONGEST), cache=10)

    async def _connect(
        self,
        address: Address,
        settings: dict[str, str],
        cache: int,
        patience: float | None = _COMMAND,
        silence: int = LONGEST,
    ) -> Connection:
        asyncpg = driver()
        try:
            connection = await asyncpg.connect(
                address.url,
                timeout=address.timeout,
                command_timeout=patience,
                statement_cache_size=cache,
                max_cached_statement_lifetime=0,
                server_settings=settings,
            )
            watch(connection._transport.get_extra_info("socket"), silence)
            return connection
        except asyncpg.exceptions.ClientConfigurationError as error:
            raise Unavailable(f"{address.shown[0].upper()}{address.shown[1:]}: {error}.") from error
        except (*DRIVER, ValueError) as error:
            raise explain(error, address.shown) from error

    # --- works ------------------------------------------------------------------------------------------------

    async def hot(self, work: Work[T]) -> T:
        """A transaction of a hot verb."""
        return await self._repeat(self._pool(hot=True), self._transact, work)

    async def calm(self, work: Work[T]) -> T:
        """A transaction of anything else."""
        return await self._repeat(self._pool(hot=False), self._transact, work)

    async def patiently(self, work: Work[T]) -> T:
        """A transaction whose statements may take as long as they need, on a connection of its own."""
        pool = Pool(partial(self.connect, None), 1)
        try:
            return await self._repeat(pool, self._transact, work)
        finally:
            await pool.close()

    async def hot_statement(self, statement: Statement, **values: Any) -> list[Record]:
        """One statement that is its own transaction: one round trip. It tells nobody: ``told`` does."""
        return await self._single(self._pool(hot=True), statement, values, writes=True)

    async def statement(self, statement: Statement, **values: Any) -> list[Record]:
        """The same for what is not hot."""
        return await self._single(self._pool(hot=False), statement, values)

    def told(self, about: Topic) -> None:
        """Something was committed."""
        self.hub.notify(about)

    def _pool(self, *, hot: bool) -> Pool:
        pool = self._hot if hot else self._calm
        if pool is None:
            raise Unavailable(f"{self.shown[0].upper()}{self.shown[1:]} is not open.")
        return pool

    async def _single(
        self, pool: Pool, statement: Statement, values: dict[str, Any], *, writes: bool = False
    ) -> list[Record]:
        async def work(session: Session) -> list[Record]:
            try:
                return await session.fetch(statement, **values)
            except DRIVER as error:
                if writes and not self.place.pooler and is_lost(error):
                    raise in_doubt(error, self.shown) from error
                raise

        # Behind a pooler even the two halves of one statement need a transaction to stay together.
        attempt = self._transact if self.place.pooler else self._alone
        return await self._repeat(pool, attempt, work)

    async def _repeat(self, pool: Pool, attempt: Callable[[Pool, Work[T]], Awaitable[T]], work: Work[T]) -> T:
        """Again, when a deadlock was all that stood against it: nothing of it was kept."""
        for turn in range(_REPEATS):
            try:
                result = await attempt(pool, work)
                if self._trouble is not None:
                    self._trouble.over()
                return result
            except Unavailable as error:
                if isinstance(error.__cause__, TimeoutError):
                    pool.doubt()
                self._met(error)
                raise
            except DRIVER as error:
                if isinstance(error, TimeoutError):
                    pool.doubt()
                if not must_repeat(error) or turn + 1 == _REPEATS:
                    explained = explain(error, self.shown)
                    if isinstance(explained, Unavailable) and not is_held_up(error):
                        self._met(explained)
                    raise explained from error
                await asyncio.sleep(self._random.uniform(0.0, 0.002 * 2**turn))
        raise AssertionError  # the last turn returns or raises

    def _met(self, error: Unavailable) -> None:
        if isinstance(error, InDoubt):
            return  # one connection broke; if the database is away the next work finds out
        if self._trouble is not None and self._calm is not None:  # else it is being closed
            self._trouble.met(error)

    async def _alone(self, pool: Pool, work: Work[T]) -> T:
        connection = await pool.take()
        sound = False
        try:
            result = await work(Session(connection))
            sound = True
            return result
        except DRIVER as error:
            sound = not is_lost(error)
            raise
        finally:
            pool.give(connection, sound=sound)

    async def _transact(self, pool: Pool, work: Work[T]) -> T:
        connection = await pool.take()
        sound = False
        try:
            await connection.execute(self._begin)
            session = Session(connection)
            try:
                result = await work(session)
            except (FluxError, *DRIVER) as error:
                if not is_lost(error):
                    await connection.execute("ROLLBACK")
                    sound = True
                raise
            try:
                await connection.execute("COMMIT")
            except DRIVER as error:
                if is_lost(error):
                    raise in_doubt(error, self.shown) from error
                raise
            sound = True
        finally:
            pool.give(connection, sound=sound)
        if session.wrote:
            self.hub.notify()
        return result
