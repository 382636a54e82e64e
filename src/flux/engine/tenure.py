"""One tenure of a worker: a lease, the claims under it, and their end."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from flux.domain.errors import FluxError, LeaseLost
from flux.domain.job import AttemptOutcome, ClaimedJob, JobState, Outcome
from flux.domain.words import plural
from flux.engine.attempt import Attempt, Isolation, Room, Stop
from flux.engine.chunks import Chunks
from flux.engine.completer import Completer
from flux.engine.engine import Engine
from flux.engine.handler import Handler
from flux.engine.lease import Keeper, Lease
from flux.engine.memory import resident
from flux.engine.ports import Demand, Renewal, Topic, WorkerInfo
from flux.engine.steps import Steps
from flux.engine.threads import Threads
from flux.engine.turn import take_turn
from flux.engine.worker_options import Left, WorkerOptions

logger = logging.getLogger("flux.worker")

LOOK_FOR_ORDERS = 0.05
"""Seconds at least between two looks for cancel requests, while something changes."""

LONGEST_RECEIVE = 5.0
"""Seconds that a receive may wait: the poll that makes every wake-up optional."""

HALVED = 100
"""From so many slots on a claim fills at most half of them, where the store works on it beside the other half's
outcomes."""

LAST_WORD = 2.0
"""Seconds that handlers have to end once their jobs are handed back."""

SHORT_WORD = 0.2
"""The same when the worker was told to leave at once."""


class Tenure:
    """A worker between two ids."""

    def __init__(
        self,
        engine: Engine,
        handlers: Mapping[str, Handler],
        options: WorkerOptions,
        isolation: Isolation,
        keeper: Keeper,
        *,
        host: str,
        pid: int,
    ) -> None:
        self.worker_id = engine.ids.new()
        self._engine = engine
        self._store = engine.store
        self._clock = engine.clock
        self._handlers = handlers
        self._options = options
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._completer = Completer(self._store.jobs, engine.broker, self.worker_id, self._clock)
        self._threads = Threads(options.concurrency)
        self._room = Room(
            self._completer,
            self._threads,
            isolation,
            engine.random,
            engine.bounds.max_result,
            self._completer.add,
            self._over,
            self._store.transactions,
        )
        self._chunks = Chunks(self._room, self._loop)
        self._running: dict[tuple[str, int], Attempt] = {}
        """By job and claim: a thread past its deadline may still hold a slot when its job is claimed again."""
        self._resolving: set[asyncio.Task[None]] = set()
        self._by_queue: Counter[str] = Counter()
        self._free = asyncio.Event()
        self._free.set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._leaving = asyncio.Event()
        self._left: Left | None = None
        self._leave_now = False
        self._woken = asyncio.Event()
        self._receiving: asyncio.Task[Any] | None = None
        self._demanded: Demand
        halved = engine.store.parallel and options.concurrency >= HALVED
        self._most_at_once = options.concurrency // 2 if halved else options.concurrency
        self._again = False
        self._lease: Lease
        self._claimed = 0
        self._in_doubt = False
        self._rounds = 0
        self._info = WorkerInfo(
            id=self.worker_id,
            host=host,
            pid=pid,
            version=options.version,
            queues=str(options.queues),
            types=tuple(sorted(handlers)),
            slots=options.concurrency,
        )

    # --- wishes ---

    def leave(self, why: Left) -> None:
        """End gracefully."""
        if self._left is None:
            self._left = why
        self._leaving.set()
        self._free.set()
        if self._receiving is not None:
            # It holds nothing while it waits for an offer; a claim under way is let through.
            self._receiving.cancel()

    def leave_now(self) -> None:
        """End at once."""
        self._leave_now = True
        self.leave(Left.STOPPED)
        self._quiet.set()

    # --- its life ---

    async def serve(self, ready: asyncio.Event) -> Left | None:
        """Work under one lease; why it left, or None when the lease was lost."""
        lease = await self._begin()
        if lease is None:
            return self._left
        logger.info(
            "worker %s takes jobs: %s, queues %s, %s",
            self.worker_id,
            plural(self._options.concurrency, "slot"),
            self._info.queues,
            plural(len(self._handlers), "type"),
        )
        ready.set()
        duties = [
            asyncio.create_task(duty, name=f"flux-{name}")
            for name, duty in (
                ("claims", self._claim_loop()),
                ("outcomes", self._completer.run()),
                ("orders", self._orders_loop()),
                ("fence", self._fence_watch(lease)),
                ("memory", self._memory_watch()),
            )
        ]
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait([*duties, leaving], return_when=asyncio.FIRST_COMPLETED)
            if self._leaving.is_set() and not any(_broken(duty) for duty in duties):
                return await self._leave_in_order(duties)
            self._fence()
            for duty in duties:
                error = _broken(duty)
                if error is not None and not isinstance(error, LeaseLost):
                    logger.error("worker %s stops by an error of its own", self.worker_id, exc_info=error)
                    raise error
            return self._left
        finally:
            for task in (*duties, leaving):
                task.cancel()
            await asyncio.gather(*duties, leaving, return_exceptions=True)
            await self._keeper.stop()
            await self._end_everything()
            self._threads.close()
            await self._sign_off()

    async def _begin(self) -> Lease | None:
        """Register; a store that is away is asked until it answers or the worker is told to leave."""
        delay = 0.1
        while not self._leaving.is_set():
            sent = self._clock.monotonic()
            try:
                await self._store.leases.register(self._info, self._options.lease)
            except FluxError as error:
                logger.warning("cannot register with the store (%s); trying again in %.1f s", error, delay)
                await self._pause(delay)
                delay = min(5.0, delay * 2)
                continue
            lease = Lease(
                self.worker_id,
                self._options.lease,
                self._clock,
                sent,
                lambda orders: self._from_thread(self._obey, orders),
                lambda: self._from_thread(self._woken.set),
            )
            self._lease = lease
            self._keeper.start(partial(self._keep, lease))
            return lease
        return None

    async def _keep(self, lease: Lease) -> None:
        await lease.keep(self._store.lease_connection())

    async def _leave_in_order(self, duties: list[asyncio.Task[None]]) -> Left | None:
        """Claim nothing more, wait for what runs, hand back the rest, write all outcomes, end the lease."""
        claims, others = duties[0], duties[1:]
        if self._running:
            running = plural(len(self._running), "running job")
            logger.info("worker %s leaves: waits for %s", self.worker_id, running)
        self._chunks.flush()
        await asyncio.wait([claims, *others], return_when=asyncio.FIRST_COMPLETED)
        if self._in_doubt:
            with suppress(FluxError):  # then the end of the lease gives them back
                await self._give_back_unheard()
        grace = 0.0 if self._leave_now else self._options.grace / 1_000_000
        if not await self._unless_broken(self._quiet.wait(), others, grace):
            return self._left
        if self._running:
            logger.info("worker %s hands back %s", self.worker_id, plural(len(self._running), "job"))
            await self._hand_back()
        if not await self._unless_broken(self._completer.drained(), others, None):
            return self._left
        logger.info("worker %s has left", self.worker_id)
        return self._left

    async def _sign_off(self) -> None:
        """End the lease at once, also a lost one: a heartbeat may have got through after the fence."""
        try:
            await self._store.leases.leave(self.worker_id)
        except FluxError as error:
            logger.warning("could not sign off (%s); the lease runs out by itself", error)

    async def _unless_broken(
        self, wish: Coroutine[Any, Any, Any], duties: list[asyncio.Task[None]], timeout: float | None
    ) -> bool:
        """Wait for something of the farewell; False (and everything fenced) when the lease is lost meanwhile."""
        waiter = asyncio.create_task(wish)
        try:
            await asyncio.wait([waiter, *duties], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if any(duty.done() for duty in duties):
            self._fence()
            return False
        return True

    async def _hand_back(self) -> None:
        for attempt in list(self._running.values()):
            attempt.stop(Stop.RELEASE)
        self._quiet.clear()
        if self._running:
            try:
                async with asyncio.timeout(self._last_word()):
                    await self._quiet.wait()
            except TimeoutError:
                pass
        for attempt in list(self._running.values()):
            attempt.abandon()

    def _fence(self) -> None:
        """The lease is over, or about to be: nothing that runs here may count any more."""
        self._completer.fence()
        if self._running:
            logger.error(
                "worker %s has lost its lease (%s): %s stopped here, to be rescued and run again",
                self.worker_id,
                self._lease.complaint(),
                plural(len(self._running), "running job"),
            )
        for attempt in list(self._running.values()):
            attempt.stop(Stop.FENCE)

    async def _end_everything(self) -> None:
        """No task of a handler outlives its tenure. A thread does: its attempt only stops waiting for it."""
        tasks = [*self._resolving]
        for task in tasks:
            task.cancel()
        for attempt in list(self._running.values()):
            attempt.stop(Stop.FENCE)
            if attempt.task is not None:
                attempt.task.cancel()
                tasks.append(attempt.task)
        if tasks:
            await asyncio.wait(tasks, timeout=self._last_word())

    def _last_word(self) -> float:
        return SHORT_WORD if self._leave_now else LAST_WORD

    # --- claiming ---

    async def _claim_loop(self) -> None:
        delay = 0.0
        broker = self._engine.broker
        while not self._leaving.is_set():
            await self._free.wait()
            demand = self._demand()
            try:
                if self._in_doubt:
                    await self._give_back_unheard()
                self._receiving, self._demanded = asyncio.current_task(), demand
                try:
                    offer = await broker.receive(demand, LONGEST_RECEIVE)
                except asyncio.CancelledError:
                    if not self._ask_again():
                        raise
                    continue
                finally:
                    self._receiving = None
                if offer is None or self._leaving.is_set():
                    continue
                # Slots may have become free while it waited.
                demand = self._demand(offer.ids)
                self._in_doubt = True
                sent = self._clock.monotonic()
                jobs = await self._store.jobs.claim(demand)
                self._in_doubt = False
                self._rounds += 1
                self._start(jobs, sent)
                await broker.acknowledge(offer, demand, [job.id for job in jobs])
                delay = 0.0
            except LeaseLost:
                raise
            except FluxError as error:
                delay = min(2.0, delay * 2 or 0.05)
                logger.warning("claims wait for the store (%s); trying again in %.1f s", error, delay)
                await self._pause(delay)

    def _more_room(self, queue: str) -> None:
        """A job of this queue is over: a receive that has asked for none of it asks again."""
        if self._receiving is not None and not self._again and self._demanded.queues.get(queue) == 0:
            self._again = True
            self._receiving.cancel()

    def _ask_again(self) -> bool:
        """Whether a receive was cancelled for that reason and no other."""
        again, self._again = self._again, False
        task = asyncio.current_task()
        return again and task is not None and task.uncancel() == 0

    async def _give_back_unheard(self) -> None:
        """A claim failed, and nobody knows whether it was committed: hand back what runs here only on paper."""
        for held in await self._store.jobs.held(self.worker_id):
            if (held.job_id, held.claim_id) in self._running or self._completer.holds(
                held.job_id, held.claim_id
            ):
                continue
            self._engine.counts.reconciliations += 1
            logger.warning("job %s was claimed without our hearing of it; it is handed back", held.job_id)
            self._completer.add(
                Outcome(
                    job_id=held.job_id,
                    claim_id=held.claim_id,
                    attempt=held.attempt,
                    state=JobState.AVAILABLE,
                    how=AttemptOutcome.RELEASED,
                )
            )
        self._in_doubt = False

    def _demand(self, hints: tuple[str, ...] | None = None) -> Demand:
        slots = min(self._options.concurrency - len(self._running), self._most_at_once)
        if self._options.max_jobs is not None:
            slots = min(slots, self._options.max_jobs - self._claimed)
        shares = self._options.queues
        queues = {
            queue: max(0, min(slots, slots if most is None else most - self._by_queue[queue]))
            for queue, most in shares.queues.items()
        }
        return Demand(
            worker_id=self.worker_id,
            types=self._info.types,
            slots=slots,
            queues=queues,
            every_queue=shares.every,
            hints=hints,
            lowest_first=self._rounds % 10 == 9,
        )

    def _start(self, jobs: list[ClaimedJob], sent: int) -> None:
        if not jobs:
            return
        spent = self._clock.monotonic() - sent
        running, handlers, room, steps = self._running, self._handlers, self._room, self._engine.steps
        self._quiet.clear()
        self._claimed += len(jobs)
        for job in jobs:
            handler = handlers[job.type]
            attempt = Attempt(job, handler, room)
            running[job.id, job.claim_id] = attempt
            self._by_queue[job.queue] += 1
            if job.workflow_id is not None and steps is not None:
                resolving = self._loop.create_task(self._launch_step(steps, attempt, sent))
                self._resolving.add(resolving)
                resolving.add_done_callback(self._resolving.discard)
            else:
                self._launch(attempt, spent)
        if len(running) >= self._options.concurrency:
            self._free.clear()
            self._chunks.flush()  # no slot is left for what they wait for
        if self._options.max_jobs is not None and self._claimed >= self._options.max_jobs:
            self.leave(Left.RECYCLE)

    def _launch(self, attempt: Attempt, spent: int) -> None:
        if attempt.handler.chunk:
            self._chunks.add(attempt, spent)
        else:
            attempt.start(self._loop, spent)

    async def _launch_step(self, steps: Steps, attempt: Attempt, sent: int) -> None:
        if await take_turn(steps, attempt):
            self._launch(attempt, self._clock.monotonic() - sent)

    def _over(self, attempt: Attempt) -> None:
        del self._running[attempt.job.id, attempt.job.claim_id]
        self._by_queue[attempt.job.queue] -= 1
        self._more_room(attempt.job.queue)
        self._free.set()
        if not self._running:
            self._quiet.set()

    # --- orders, fence, memory ---

    async def _orders_loop(self) -> None:
        """Hear of cancel requests soon: whenever there may be one."""
        changes = self._store.changes
        seen = changes.version(Topic.ORDERS)
        while True:
            seen = await changes.wait(seen, self._options.lease / 3_000_000, Topic.ORDERS)
            try:
                self._obey(await self._store.leases.orders(self.worker_id))
            except LeaseLost:
                raise
            except FluxError as error:
                logger.debug("orders could not be read: %s", error)
            await asyncio.sleep(LOOK_FOR_ORDERS)

    def _obey(self, orders: Renewal) -> None:
        if orders.cancels:
            wanted = set(orders.cancels)
            for attempt in list(self._running.values()):
                if attempt.job.id in wanted:
                    attempt.stop(Stop.CANCEL)
        if orders.drain and self._left is None:
            logger.info("worker %s was asked to drain", self.worker_id)
            self.leave(Left.DRAINED)

    async def _fence_watch(self, lease: Lease) -> None:
        """Raise ``LeaseLost`` before others may own what runs here; and show the heartbeat that the loop moves."""
        pause = min(5.0, self._options.lease / 10_000_000)
        while True:
            lease.beats += 1
            left = (lease.safe_until - self._clock.monotonic()) / 1_000_000
            if left <= 0 or lease.lost:
                raise LeaseLost(f"the lease of worker {self.worker_id} could not be renewed")
            self._woken.clear()
            try:
                async with asyncio.timeout(min(pause, left)):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _memory_watch(self) -> None:
        most = self._options.max_memory
        if most is None:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(1.0)
            used = resident()
            if most is not None and used > most:
                logger.info("worker %s uses %d MB and is recycled", self.worker_id, used >> 20)
                self.leave(Left.RECYCLE)
                await asyncio.Event().wait()

    # --- small things ---

    def _from_thread(self, call: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: the tenure is over
            self._loop.call_soon_threadsafe(call, *args)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            pass


def _broken(duty: asyncio.Task[None]) -> BaseException | None:
    """What ended a duty that should not have ended."""
    return duty.exception() if duty.done() and not duty.cancelled() else None
