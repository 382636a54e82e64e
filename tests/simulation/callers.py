"""Callers that enqueue in their own transactions, and take their time: the jobs exist if and only if those commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from flux.domain.errors import FluxError
from flux.domain.job import Inserted
from flux.engine.engine import Engine
from flux.stores.postgres.errors import DRIVER
from tests.simulation.plan import Item

if TYPE_CHECKING:
    from tests.simulation.world import World


class Order(Item):
    """Requests that are made together with rows of the caller's own."""

    url: str

    @property
    def key(self) -> None:
        """Whoever orders does not repeat it: without an answer the jobs may be there or not, with their rows."""
        return None

    async def submit(self, engine: Engine, world: World) -> None:
        """Try once."""
        try:
            connection = await asyncpg.connect(self.url, timeout=5.0, command_timeout=20.0)
            try:
                await self._order(connection, engine, world)
            finally:
                connection.terminate()
        except (FluxError, *DRIVER) as error:
            world.history.say("an order has no answer: %r", error)

    async def _order(self, connection: asyncpg.Connection, engine: Engine, world: World) -> None:
        """One transaction, slow or fast, that is given up now and then."""
        transaction = connection.transaction()
        await transaction.start()
        await self._pause(world)
        inserted = await engine.jobs.submit_within(connection, self.requests)
        fresh = [one.id for one in inserted if one.how == "created"]
        world.auditor.ordered.update(fresh)
        await connection.executemany("INSERT INTO trail.orders (job) VALUES ($1)", [(id,) for id in fresh])
        await self._pause(world)
        if world.random.random() < 0.8:
            await transaction.commit()
            self._accepted(inserted, world)

    def _accepted(self, inserted: list[Inserted], world: World) -> None:
        for request, one in zip(self.requests, inserted, strict=True):
            world.history.say("accepted %s (%s) in a transaction", one.id, one.how)
            world.known.append(one.id)
            if request.idempotency_key is None:
                world.auditor.promised(one.id)
            else:
                world.auditor.promised_by_key(request.idempotency_key, one.id)

    async def _pause(self, world: World) -> None:
        if world.random.random() < 0.5:
            await asyncio.sleep(world.random.random() * world.random.choice([0.01, 3.0]))
