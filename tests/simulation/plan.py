"""What callers submit, and what people do to it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from flux.domain.errors import Conflict, NotFound, Unavailable
from flux.domain.job import Inserted
from flux.domain.request import JobRequest, UniqueRequest
from flux.engine.engine import Engine
from flux.engine.jobs import ChangeRequest

if TYPE_CHECKING:
    from tests.simulation.world import World

QUEUES = ("default", "mail", "slow")
BACKOFF: dict[str, Any] = {"kind": "constant", "base": "500ms", "jitter": 0.5}


class Item(msgspec.Struct, kw_only=True):
    """A request (or several, in one transaction) and when it is made."""

    at: float
    requests: list[JobRequest]

    @property
    def key(self) -> str | None:
        """Its idempotency key."""
        return self.requests[0].idempotency_key

    async def submit(self, engine: Engine, world: World) -> None:
        """Submit; with a key, or with ids of one's own, until there is an answer."""
        auditor = world.auditor
        if len(self.requests) > 1:
            for inserted in await self._insert(engine, world):
                auditor.promised(inserted.id)
                world.known.append(inserted.id)
            return
        [request] = self.requests
        key = request.idempotency_key
        while True:
            try:
                submitted = await engine.jobs.submit(request)
                break
            except NotFound:
                # Its answer was that of a job which has been forgotten since; the simulation keeps all.
                raise
            except Unavailable:
                if key is None:
                    raise
                await asyncio.sleep(world.random.random())
        job_id = submitted.job.id
        world.history.say("accepted %s (%s)", job_id, submitted.how)
        if key is not None:
            auditor.promised_by_key(key, job_id)
        else:
            auditor.promised(job_id)
        world.known.append(job_id)

    async def _insert(self, engine: Engine, world: World) -> list[Inserted]:
        """The same jobs again, whether or not they were stored: they are accepted once."""
        jobs = engine.enqueuer.prepare_all(self.requests)
        while True:
            try:
                return await engine.enqueuer.insert(jobs)
            except Unavailable:
                await asyncio.sleep(world.random.random())


class Plan:
    """Who submits what, and when."""

    def __init__(
        self,
        random: Random,
        lives: int,
        storm: float,
        *,
        kinds: Sequence[str] = (),
        within: Callable[[Item], Item] | None = None,
    ) -> None:
        """``kinds``: more types of jobs than usual. ``within``: how a request is made in a caller's transaction."""
        self.total = lives
        self._under_way: dict[str, Item] = {}
        self._items: list[Item] = []
        left = lives
        while left > 0:
            size = random.choice([1, 1, 1, 1, 1, 1, 2, 10])
            requests = [_request(random, kinds) for _ in range(min(size, left))]
            left -= len(requests)
            item = Item(at=random.random() * storm, requests=requests)
            if size == 1 and random.random() < 0.3:
                item.requests[0].idempotency_key = f"key-{left}"
                if random.random() < 0.5:
                    # Two callers at once, or one after the other.
                    again = item.at + random.choice([0.0, random.random() * 10])
                    self._items.append(Item(at=again, requests=item.requests))
            if within is not None and random.random() < 0.3:
                item = within(item)
            self._items.append(item)
        self._items.sort(key=lambda item: item.at, reverse=True)

    def next(self, who: str) -> Item | None:
        """The next one to submit."""
        if not self._items:
            return None
        item = self._items.pop()
        self._under_way[who] = item
        return item

    def done(self, who: str, item: Item) -> None:
        """It was answered, or given up."""
        if self._under_way.get(who) is item:
            del self._under_way[who]

    def left_over(self, who: str) -> list[Item]:
        """What a process that was killed had begun: repeated when it has a key, else it may or may not be there."""
        item = self._under_way.pop(who, None)
        return [item] if item is not None and item.key is not None else []

    @property
    def finished(self) -> bool:
        """Whether nothing is left to submit."""
        return not self._items and not any(
            item.key or len(item.requests) > 1 for item in self._under_way.values() if type(item) is Item
        )


def _request(random: Random, kinds: Sequence[str]) -> JobRequest:
    seconds = random.choice([0.0, 0.01, 0.2, 1.0, 3.0])
    kind = random.choice(
        ["ok"] * 4
        + ["sleep"] * 3
        + ["fail"] * 3
        + ["snooze", "hang", "count", "whim", "chunk", "mystery", *kinds]
    )
    if kind == "sleep":
        seconds = random.choice([seconds, 8.0])
    payload = {"seconds": seconds, "times": random.randint(0, 4)}
    if kind == "whim":
        payload["wish"] = random.choice(["cancel", "discard", "later", "nonsense"])
    request = JobRequest(
        type=kind,
        payload=msgspec.Raw(msgspec.json.encode(payload)),
        queue=random.choice(QUEUES),
        priority=random.randint(1, 10),
        max_retries=random.randint(0, 4),
        backoff=BACKOFF,
    )
    if kind == "hang" or random.random() < 0.2:
        request.timeout = random.choice([0.1, 1.0, 5.0])
    if random.random() < 0.3:
        request.delay = random.random() * 5
    if random.random() < 0.1:
        request.expires_in = random.random() * 5 + 0.001
    if random.random() < 0.15:
        payload["unique"] = random.randint(1, 5)
        request.payload = msgspec.Raw(msgspec.json.encode(payload))
        request.unique = UniqueRequest(by=("payload.unique",))
    return request


class Meddler:
    """People: they cancel, retry, change, pause and drain, at any time and in any state."""

    def __init__(self, world: World, engine: Engine) -> None:
        self._world = world
        self._engine = engine

    async def meddle(self) -> None:
        """One thing."""
        world, random, engine = self._world, self._world.random, self._engine
        try:
            deed = random.random()
            if deed < 0.1:
                await engine.queues.pause(random.choice(QUEUES), "sim")
            elif deed < 0.25:
                await engine.queues.resume(random.choice(QUEUES), "sim")
            elif deed < 0.28:
                alive = [view.info.id for view in await engine.workers.list() if view.alive]
                if alive:
                    await engine.workers.drain(random.choice(alive))
            elif world.known:
                await self._touch(random.choice(world.known[-50:]))
        except (Conflict, NotFound, Unavailable) as refused:
            world.history.say("refused: %s", refused)

    async def _touch(self, job_id: str) -> None:
        world, random, engine = self._world, self._world.random, self._engine
        deed = random.random()
        if deed < 0.4:
            # Before the answer: it may be lost.
            world.auditor.cancelled.add(job_id)
            await engine.jobs.cancel(job_id, "simulated")
        elif deed < 0.8:
            world.auditor.retried.add(job_id)
            await engine.jobs.retry(job_id)
        else:
            change = ChangeRequest(priority=random.randint(1, 10), queue=random.choice(QUEUES))
            if random.random() < 0.3:
                change.max_retries = random.randint(0, 3)
            await engine.jobs.change(job_id, change)

    async def calm(self) -> None:
        """Let every queue run again."""
        for queue in QUEUES:
            while True:
                try:
                    await engine_resume(self._engine, queue)
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)


async def engine_resume(engine: Engine, queue: str) -> None:
    """Resume a queue."""
    await engine.queues.resume(queue, "sim")
