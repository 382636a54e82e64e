"""A large worker claims by halves, so that one half runs while the next is on its way; all of its slots are used."""

from __future__ import annotations

import asyncio

import psycopg

from flux import Flux
from flux.engine.tenure import HALVED

SLOTS = HALVED + 1


def claims(url: str) -> list[int]:
    """How many jobs each claim took."""
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM flux.live WHERE state = 'running' GROUP BY claim_id"
        return sorted((count for (count,) in connection.execute(query)), reverse=True)


async def test_claims_take_half_of_the_slots_and_fill_them_all(database_url: str) -> None:
    flux = Flux(database_url)
    started, full, go_on = 0, asyncio.Event(), asyncio.Event()

    @flux.job
    async def hold() -> None:
        nonlocal started
        started += 1
        if started == SLOTS:
            full.set()
        await go_on.wait()

    async with flux:
        handles = await flux.enqueue_many(hold.request() for _ in range(SLOTS + 30))
        async with asyncio.timeout(30), flux.worker(concurrency=SLOTS):
            await full.wait()
            assert claims(database_url) == [SLOTS // 2, SLOTS // 2, 1]
            go_on.set()
            for handle in handles:
                await handle.result()
