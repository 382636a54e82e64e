"""The dispatcher: keeps each lane of a broker that holds hints filled with what the store would give by policy.

One loop instead of four mechanisms. It feeds what did not fit when it was enqueued, repeats hints that were lost, finds
jobs that were stored or made available without a hint, and takes back what dead workers held.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from flux.engine.loops import Patience
from flux.engine.ports import Lane, Lanes, Store

logger = logging.getLogger("flux.dispatcher")

EVERY = 1.0
"""Seconds between two comparisons of all lanes with the store."""

CLOSEST = 0.005
"""Seconds at least between two looks, however often it is poked."""

SHARE = 4
"""It rests so many times as long as it has worked: a store with a thousand lanes has other things to do too."""


class Dispatcher:
    """One leader's. Two at once repeat hints, which costs time and nothing else: so no epoch is checked."""

    def __init__(self, store: Store, lanes: Lanes) -> None:
        self._duties = store.duties
        self._lanes = lanes
        self._published: dict[Lane, str] = {}
        """Of each lane with more jobs than its width: the newest id that it was fed, to go on from."""

    async def run(self) -> None:
        """Feed until cancelled."""
        patience = Patience(logger, "the feeding of the broker")
        loop = asyncio.get_running_loop()
        compared = loop.time() - EVERY
        poked = False
        while True:
            began = loop.time()
            everything = began - compared >= EVERY
            if not self._lanes.up:
                pause = 0.0  # it says itself what is wrong
            elif everything or poked:
                if everything:
                    compared = began
                pause = await patience.attempt(partial(self._compare, everything))
            else:
                pause = 0.0
            rest = max(pause, CLOSEST, SHARE * (loop.time() - began))
            poked = await self._serve(patience, loop.time() + rest, compared + EVERY)

    async def _serve(self, patience: Patience, rested: float, until: float) -> bool:
        """Refill lanes that run low, until it is time for another look; whether it was poked."""
        loop = asyncio.get_running_loop()
        poked = False
        while True:
            end = rested if poked else max(rested, until)
            left = end - loop.time()
            if left <= 0:
                return poked
            news = await self._lanes.wait(left)
            poked = poked or news.poked
            for lane in news.low:
                await asyncio.sleep(await patience.attempt(partial(self._refill, lane)))

    async def _compare(self, everything: bool) -> float:
        """Compare lanes with the store; poked, only those that have less than they could hold."""
        if everything:
            await self._lanes.take_over()
        marked = await self._lanes.full()
        lanes = await self._duties.lanes()
        for lane in lanes:
            if everything or lane not in self._published:
                await self._mend(lane, marked.get(lane))
            elif await self._lanes.length(lane) < self._lanes.width / 2:
                await self._refill(lane)  # what said so was not heard
        waiting = set(lanes)
        self._published = {lane: id for lane, id in self._published.items() if lane in waiting}
        for lane in [lane for lane in marked if lane not in waiting]:
            # Where jobs wait all the same the queue is paused, and hints of it would only go round in circles.
            if not await self._duties.offerable(lane, None, 1):
                await self._lanes.reopen(lane, marked[lane])
        return 0.0

    async def _mend(self, lane: Lane, passed_by: int | None) -> None:
        """Make a lane hold the first jobs that the store has for it."""
        width = self._lanes.width
        # Before the store and after it: a job claimed meanwhile was there before, one stored meanwhile is there now.
        held = await self._lanes.held(lane)
        wanted = await self._duties.offerable(lane, None, width)
        missing = [id for id in wanted if id not in held]
        if missing:
            held = await self._lanes.held(lane)
            missing = [id for id in missing if id not in held]
        fed = await self._lanes.feed(lane, missing) if missing else 0
        if len(wanted) >= width:
            # What found no room (hints of jobs that are claimed take some for a moment) is what follows.
            self._goes_on_from(lane, wanted[: wanted.index(missing[fed])] if fed < len(missing) else wanted)
            if passed_by is None:
                await self._lanes.mark_full(lane)
        else:
            self._published.pop(lane, None)
            if passed_by is not None and fed == len(missing):
                await self._lanes.reopen(lane, passed_by)

    def _goes_on_from(self, lane: Lane, fed: list[str]) -> None:
        if fed:
            self._published[lane] = fed[-1]
        else:
            self._published.pop(lane, None)

    async def _refill(self, lane: Lane) -> float:
        """A full lane runs low: go on from the last id that it was fed."""
        last = self._published.get(lane)
        if last is not None:
            room = self._lanes.width - await self._lanes.length(lane)
            if room <= 0:
                return 0.0
            ids = await self._duties.offerable(lane, last, room)
            fed = await self._lanes.feed(lane, ids) if ids else 0
            if fed:
                self._published[lane] = ids[fed - 1]
            if len(ids) == room:
                return 0.0
        # What follows is all there, or nobody knows what: compare the whole.
        await self._mend(lane, (await self._lanes.full()).get(lane))
        return 0.0
