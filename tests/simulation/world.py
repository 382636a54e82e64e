"""A world: one database, one broker, some processes, bad luck, and an auditor. Everything follows from the seed."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any, cast

import msgspec

from flux.domain.duration import SECOND
from flux.domain.errors import Conflict, Unavailable
from flux.domain.schedule import Misfire
from flux.engine.engine import Engine
from flux.engine.ports import Broker, Retention, Store
from flux.engine.schedule_request import ScheduleRequest
from tests.simulation.actors import Actor, ClientActor, HostClock, SchedulerActor, WorkerActor
from tests.simulation.audit import Auditor, Violation
from tests.simulation.broker import Carrier, LossyBroker, Manners
from tests.simulation.faults import Faults, FaultyStore, Weather
from tests.simulation.ground import Ground, SqliteGround
from tests.simulation.handlers import Witness
from tests.simulation.history import History
from tests.simulation.loop import Process
from tests.simulation.plan import BACKOFF, Meddler

START = 1_800_000_000_000_000
PATIENCE = 300.0
"""Virtual seconds after the storm within which everything must be final."""


class Outcome(msgspec.Struct, frozen=True):
    """What a world was worth."""

    seed: int
    lives: int
    runs: int
    kills: int
    steps: int
    virtual: float
    digest: str | None


class Climate(msgspec.Struct, frozen=True):
    """Which kinds of bad luck there are in a world."""

    crashes: bool = True
    pauses: bool = True
    jumps: bool = True
    faults: bool = True
    lossy_broker: bool = True

    @property
    def exclusive(self) -> bool:
        """Whether a job may never run in two living processes at once: stopped processes and clocks that step are the
        two things that no self-fencing can see."""
        return not self.pauses and not self.jumps


STRICT = Climate(pauses=False, jumps=False)
"""No job may ever run in two places at once."""


def climate_of(random: Random) -> Climate:
    """Some worlds are spared some kinds, so that stricter things can be asked of them."""
    strict = random.random() < 0.4
    return Climate(
        crashes=random.random() < 0.9,
        pauses=not strict and random.random() < 0.8,
        jumps=not strict and random.random() < 0.6,
        faults=random.random() < 0.9,
        lossy_broker=random.random() < 0.5,
    )


class World:
    """See the module. ``wrap`` may put something between the engine and the store, to show what breaks then."""

    storms: Sequence[float] = (5.0, 20.0, 60.0)
    """How many virtual seconds of bad luck there may be."""

    def __init__(
        self,
        seed: int,
        lives: int = 120,
        *,
        tell: Callable[[str], None] | None = None,
        digest: bool = False,
        wrap: Callable[[Store], Store] | None = None,
        climate: Climate | None = None,
        ground: Ground | None = None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.ground = ground or SqliteGround()
        self.loop = self.ground.make_loop(Random(seed ^ 0x5EED))
        self.loop.set_exception_handler(self._unhandled)
        self.history = History(self.loop.time, tell, digest)
        self.wrap = wrap or (lambda store: store)
        self.climate = climate or climate_of(self.random)
        self._command = f"python -m tests.simulation{self.ground.option} --seed {seed} --size {lives}"
        if climate == STRICT:
            self._command += " --strict"
        self.lease = self.random.choice([2, 3, 5]) * SECOND
        self.retention = Retention(succeeded=None, dead=None, cancelled=None, most=None)
        self.storm = self.random.choice(self.ground.storms or self.storms)
        self.step = 0
        self.closing = False
        self.kills = 0
        self.known: list[str] = []
        self.errors: list[BaseException | str] = []
        self.weather = Weather()
        self.manners = Manners()
        self.witness = Witness(self.loop.time, self.wall)
        self.witness.exclusive = self.climate.exclusive
        self.plan = self.ground.make_plan(self.random, lives, self.storm)
        self._carrier = Carrier(self.random, self.manners, self.history)
        self.auditor: Auditor

    # --- what processes ask of it -----------------------------------------------------------------------------------

    def wall(self) -> int:
        """The host's wall clock, which is the store's."""
        return START + self.step + int(self.loop.time() * 1_000_000)

    def connect(self, process: Process) -> tuple[Store, Callable[[Store], Broker]]:
        """A store of its own on the common database, and a broker."""
        return self.ground.connect(process), self._broker

    def _broker(self, store: Store) -> Broker:
        if self.climate.lossy_broker:
            return LossyBroker(self._carrier)
        from flux.brokers.from_store import StoreBroker

        return StoreBroker(store)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Do something that belongs to no process."""
        self.loop.call_later(seconds, call, context=self.loop.world.context())

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context.get("exception") or context["message"])

    # --- its life ---------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Live through it. Raises ``Violation`` (or whatever the engine raised) with the seed in its notes."""
        quiet = logging.getLogger("flux")
        before = quiet.disabled, quiet.level, quiet.propagate
        quiet.setLevel(logging.CRITICAL + 1)
        # What is collected when must not depend on what was allocated elsewhere: "never retrieved" is said then.
        gc.disable()
        self.ground.begin(self)
        try:
            asyncio.set_event_loop(self.loop)
            return self.loop.run_until_complete(self._live())
        except BaseException as error:
            error.add_note(f"{self._command}  # repeats this with its history")
            raise
        finally:
            self.weather.over = True
            self.closing = True
            self._end()
            self.ground.end()
            asyncio.set_event_loop(None)
            quiet.disabled, quiet.level, quiet.propagate = before
            gc.enable()
            gc.collect()

    async def _live(self) -> Outcome:
        random = self.random
        own = Process(self.loop, "auditor")
        inner, _ = self.connect(own)
        await inner.open()
        self.auditor = self.ground.auditor(inner, self.witness)
        people = Engine(
            cast(Store, FaultyStore(inner, Faults(random, self.weather, self.history, self.auditor))),
            LossyBroker(self._carrier),
            HostClock(self),
            Random(random.getrandbits(64)),
        )
        meddler = Meddler(self, people)
        actors: list[Actor] = [WorkerActor(self, f"worker{n}") for n in range(random.randint(2, 4))]
        actors += [SchedulerActor(self, f"scheduler{n}") for n in range(random.randint(1, 3))]
        actors += [ClientActor(self, f"client{n}") for n in range(random.randint(1, 3))]
        self._brew()
        for actor in actors:
            actor.start()
        await self._declare(people)
        # The storm.
        while self.loop.time() < self.storm or not self.plan.finished:
            await asyncio.sleep(random.random() * 0.3)
            if random.random() < 0.5:
                await meddler.meddle()
            if self.loop.time() < self.storm:
                self._strike(random.choice(actors))
            elif self.loop.time() > self.storm + PATIENCE:
                raise Violation("callers were not answered in time")
            await self._check()
        # Calm: everything must come to its end.
        self.history.say("the storm is over")
        self.weather.calm()
        self.manners.calm()
        self.ground.calm()
        for actor in actors:
            actor.process.go_on()
            if actor.faults is not None:
                actor.faults.partitioned_until = 0.0
        await meddler.calm()
        await self._withdraw(people)
        until = self.loop.time() + PATIENCE
        while await self.auditor.unfinished():
            await asyncio.sleep(2.0)
            await self._check()
            if self.loop.time() > until:
                break
        lives = await self._account()
        await self._farewell(actors)
        return Outcome(
            seed=self.seed,
            lives=lives,
            runs=self.witness.total,
            kills=self.kills,
            steps=self.loop.steps,
            virtual=self.loop.time(),
            digest=self.history.digest if self.history.wanted and self.history._digest else None,
        )

    async def _check(self) -> None:
        await self.auditor.look()
        for error in self.errors:
            if isinstance(error, BaseException):
                raise error
            raise Violation(error)

    async def _account(self) -> int:
        try:
            return await self.auditor.final()
        except Violation:
            await self._check()
            raise

    async def _farewell(self, actors: list[Actor]) -> None:
        """Processes that are told to leave do so, and give nothing up that was not theirs to give."""
        self.closing = True
        for actor in actors:
            actor.leave()
        for _ in range(100):
            if not any(actor.up for actor in actors if not isinstance(actor, ClientActor)):
                break
            await asyncio.sleep(1.0)
        else:
            raise Violation("a process that was told to leave did not")
        await self._check()

    # --- schedules --------------------------------------------------------------------------------------------------

    async def _declare(self, people: Engine) -> None:
        if self.random.random() < 0.5:
            request = ScheduleRequest(
                name="beat",
                type="ok",
                every=1.0,
                misfire=self.random.choice(["run_once", "skip", "run_all"]),
                misfire_grace=1.0,
                overlap=self.random.choice(["allow", "skip", "cancel_previous"]),
                backoff=BACKOFF,
            )
            with suppress(Unavailable, Conflict):
                await people.schedules.create(request)

    async def _withdraw(self, people: Engine) -> None:
        for view in await people.schedules.list():
            times: list[int] = []
            until = self.loop.time() + PATIENCE
            # The only scheduler may have been away until now, and a clock that was set back is in no hurry.
            while len(times) < 3 and self.loop.time() < until:
                await asyncio.sleep(1.0)
                fired = await people.store.schedules.occurrences(view.schedule.id, 10_000)
                times = sorted(fire_at for fire_at, _, _ in fired)
            gaps = [b - a for a, b in pairwise(times) if b - a != SECOND]
            if view.spec.misfire is Misfire.RUN_ALL and gaps:
                raise Violation(f"fire times were left out although all had to run: gaps of {gaps} µs")
            if len(times) < 3:
                raise Violation(f"a schedule of every second has fired {len(times)} times")
            await people.schedules.delete(view.spec.name)

    # --- bad luck ---------------------------------------------------------------------------------------------------

    def _brew(self) -> None:
        random, climate = self.random, self.climate
        if climate.faults:
            self.weather.refuse = random.choice([0.0, 0.01, 0.1])
            self.weather.lose = random.choice([0.0, 0.01, 0.1])
            self.weather.stall = random.choice([0.0, 0.01, 0.03])
            self.weather.flight = random.choice([0.0, 0.01, 0.05])
            self.weather.longest = random.random() * 3 * self.lease / SECOND
        self.manners.lose = random.choice([0.0, 0.1, 1.0])
        self.manners.repeat = random.choice([0.0, 0.3])
        self.manners.late = random.choice([0.0, 0.2])
        self.manners.refuse = random.choice([0.0, 0.05])

    def _strike(self, actor: Actor) -> None:
        """One piece of bad luck, perhaps."""
        random, climate = self.random, self.climate
        luck = random.random()
        lease = self.lease / SECOND
        process = actor.process
        if climate.crashes and luck < 0.10:
            # At an await that nobody chose: so many steps from now.
            process.fuse = random.randint(1, 60)
            self.kills += 1
        elif climate.pauses and luck < 0.14:
            self.history.say("%s is stopped", process.name)
            process.stop()
            self.later(random.random() * 2.5 * lease, process.go_on)
        elif climate.pauses and luck < 0.18:
            self.history.say("%s is stuck", process.name)
            self.loop.freeze(process.main)
            self.later(random.random() * 2.5 * lease, process.go_on)
        elif luck < 0.22:
            actor.leave()
        elif climate.faults and luck < 0.25 and actor.faults is not None:
            self.history.say("%s is cut off from the store", process.name)
            actor.faults.partitioned_until = self.loop.time() + random.random() * 5 * lease
        elif climate.faults and luck < 0.26:
            self.history.say("the store is away")
            self.weather.away_until = self.loop.time() + random.random() * 1.5 * lease
        elif luck < 0.28:
            self._carrier.wipe()
        elif climate.jumps and luck < 0.30:
            self.step += int((random.random() - 0.5) * 4 * self.lease)
            self.ground.time_changed()
            self.history.say("the clock steps: %+.3f s in all", self.step / SECOND)
        elif climate.faults and luck > 0.95:
            self.ground.strike(process)

    def _end(self) -> None:
        """Close everything in order, the dead included, and leave nothing to the garbage collector."""
        self.loop.set_exception_handler(lambda loop, context: None)
        self.loop.end()
        self.loop.run_until_complete(self.ground.close())
        self.loop.close()
