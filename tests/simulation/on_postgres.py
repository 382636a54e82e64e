"""Worlds on a real PostgreSQL: the real store, driver and connections, under virtual time and on a bad network.

A process may be stopped or killed between any two statements of a transaction, a connection may break at any of them,
and what a request finds when it arrives late is what stands there then.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from flux.domain.duration import SECOND
from flux.domain.job import ClaimedJob, JobState, Outcome
from flux.engine.ports import Store
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.simulation.audit import Auditor, Violation
from tests.simulation.callers import Order
from tests.simulation.handlers import Witness
from tests.simulation.loop import Process
from tests.simulation.plan import Item, Plan
from tests.simulation.wires import WiredLoop

if TYPE_CHECKING:
    from tests.simulation.world import World


class PostgresGround:
    """A database with the newest schema, of which the world makes its own."""

    option = " --postgres"
    storms: Sequence[float] = (5.0, 20.0)

    def __init__(self, url: str) -> None:
        """``url`` names a fresh database, as a superuser."""
        self._url = url
        self._own_url = f"{url}?sslmode=disable"
        self._stores: list[PostgresStore] = []
        self._world: World
        self._loop: WiredLoop
        self._place: tempfile.TemporaryDirectory[str]
        self._clock: int

    def make_loop(self, random: Random) -> WiredLoop:
        """Answers of the server are waited for, time is not."""
        self._loop = WiredLoop(random)
        return self._loop

    def make_plan(self, random: Random, lives: int, storm: float) -> Plan:
        """Also handlers and callers with transactions of their own."""

        def within(item: Item) -> Item:
            return Order(at=item.at, requests=item.requests, url=self._own_url)

        return Plan(random, lives, storm, kinds=("transact", "transact"), within=within)

    def begin(self, world: World) -> None:
        """Let the server read the world's clock, and write down what happens to jobs."""
        import psycopg

        self._world = world
        self._place = tempfile.TemporaryDirectory(prefix="flux-sim-")
        place = Path(self._place.name)
        place.chmod(0o711)
        clock = place / "clock"
        self._clock = os.open(clock, os.O_CREAT | os.O_WRONLY, 0o644)
        self.time_changed()
        script = files("tests.simulation").joinpath("trail.sql").read_text("utf-8")
        with psycopg.connect(self._url) as connection:
            connection.execute(script.replace(":clock", str(clock)).encode())
        self._loop.passing = self.time_changed
        self._brew()

    def _brew(self) -> None:
        random, roads = self._loop.dice, self._loop.roads
        if self._world.climate.faults:
            roads.cut = random.choice([0.0, 0.002, 0.01])
            roads.stall = random.choice([0.0, 0.005, 0.02])
            roads.longest = random.random() * 4 * self._world.lease / SECOND

    def connect(self, process: Process) -> Store:
        """A store with connections of its own."""
        store = PostgresStore(
            Place(url=self._own_url),
            migrate=False,
            random=Random(self._world.random.getrandbits(64)),
        )
        self._stores.append(store)
        return store

    def time_changed(self) -> None:
        """The server reads it from there."""
        os.pwrite(self._clock, b"%020d" % self._world.wall(), 0)

    def strike(self, process: Process) -> None:
        """The network of one process goes silent for a while, or all its connections break."""
        world, loop = self._world, self._loop
        if world.random.random() < 0.5:
            world.history.say("all connections of %s are cut", process.name)
            for wire in [wire for wire in loop.wires if wire.process is process]:
                wire.cut()
        else:
            world.history.say("the network of %s is silent", process.name)
            loop.closed_until[process] = loop.time() + world.random.random() * 3 * world.lease / SECOND

    def calm(self) -> None:
        """A good network."""
        self._loop.roads.calm()
        self._loop.closed_until.clear()

    def forget(self, process: Process) -> None:
        """The system closes its connections."""
        for wire in [wire for wire in self._loop.wires if wire.process is process]:
            wire.hang_up()

    def auditor(self, store: Store, witness: Witness) -> Auditor:
        """Verbs overlap, so what happened is asked of the database."""
        return TrailAuditor(store, witness, self._url)

    async def close(self) -> None:
        """Close the stores."""
        for store in self._stores:
            await store.close()
        while self._loop.wires:
            for wire in list(self._loop.wires):
                wire.tear_down()
            await asyncio.sleep(1.0)

    def end(self) -> None:
        """The database is thrown away by whoever made it."""
        os.close(self._clock)
        self._place.cleanup()


class Move(msgspec.Struct, frozen=True, array_like=True):
    """A job came to a state; ``claim`` is that under which it ran before, or runs now."""

    job: str
    state: str
    claim: int | None
    unique_key: str | None
    live: bool


class TrailAuditor(Auditor):
    """Goes by what the database has written down, in the order in which it happened to each job."""

    def __init__(self, store: Store, witness: Witness, url: str) -> None:
        super().__init__(store, witness)
        self._url = url
        self._told: list[tuple[str, int, str]] = []
        self._transacting: set[str] = set()

    def _claimed(self, jobs: list[ClaimedJob]) -> None:
        for job in jobs:
            if job.attempt > job.attempt_limit:
                self._found.append(f"{job.id} was claimed for attempt {job.attempt} of {job.attempt_limit}")

    def _ended(self, outcomes: list[Outcome], states: list[JobState | None]) -> None:
        for outcome, state in zip(outcomes, states, strict=True):
            if state is not None:
                self._told.append((outcome.job_id, outcome.claim_id, state))
                if outcome.state == JobState.SUCCEEDED and not self._witness.completed(outcome):
                    self._found.append(f"{outcome.job_id} was completed by an attempt that did not end")

    def _explain(self, job: Any) -> None:
        super()._explain(job)
        if job.type == "transact":
            self._transacting.add(job.id)

    async def final(self) -> int:
        """Also what the trail says. Raises ``Violation``."""
        lives = await super().final()
        moves = [
            Move(*row)
            for row in self._trail("SELECT job::text, state, claim, unique_key, live FROM trail.moves")
        ]
        ended = {(move.job, move.claim, move.state) for move in moves}
        for job_id, claim_id, state in self._told:
            # An attempt that is given back when its job is cancelled: it waits first, and then ends without a claim.
            between = JobState.AVAILABLE if state == JobState.CANCELLED else state
            if ended.isdisjoint({(job_id, claim_id, state), (job_id, claim_id, between)}):
                raise Violation(f"{job_id} came to {state} by a claim that was not its last")
        for move in moves:
            if move.state == JobState.SUCCEEDED and not self._ran(move):
                raise Violation(f"{move.job} succeeded by a claim under which no handler came to its end")
        self._left_once(moves)
        self._one_holder(moves)
        self._orders({move.job for move in moves})
        self._writes(moves)
        return lives

    def _trail(self, statement: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self._url) as connection:
            return connection.execute(f"{statement} ORDER BY step".encode()).fetchall()

    def _orders(self, existing: set[str]) -> None:
        """A caller's rows and its jobs are there together or not at all."""
        rows = {job for (job,) in self._trail("SELECT job FROM trail.orders")}
        if wrong := (rows ^ existing) & (self.ordered | rows):
            raise Violation(
                f"jobs without the rows of their transactions, or rows without jobs: {sorted(wrong)}"
            )

    def _writes(self, moves: list[Move]) -> None:
        """What a handler wrote with its job's success is there once when the job succeeded, else never."""
        written = Counter(job for (job,) in self._trail("SELECT job FROM trail.writes"))
        succeeded = {move.job for move in moves if move.state == JobState.SUCCEEDED}
        for job_id in self._transacting | set(written):
            if written[job_id] != (job_id in succeeded):
                raise Violation(f"{job_id} ({self.state[job_id]}) has {written[job_id]} rows of its handler")

    def _ran(self, move: Move) -> bool:
        """Whether a handler ran to its end; one that commits its own success may have been killed right after that."""
        early = move.job in self._transacting
        runs = self._witness.runs.get(move.job, ())
        return any(run.claim_id == move.claim and (early or run.ended is not None) for run in runs)

    def _left_once(self, moves: list[Move]) -> None:
        """An attempt begins once and ends once."""
        began: set[tuple[str, int | None]] = set()
        ended: set[tuple[str, int | None]] = set()
        for move in moves:
            if move.claim is None:
                continue
            seen = began if move.state == JobState.RUNNING else ended
            if (move.job, move.claim) in seen:
                raise Violation(f"{move.job} came to {move.state} twice by one claim")
            seen.add((move.job, move.claim))
        if ended - began:
            raise Violation(f"attempts that ended and had not begun: {sorted(ended - began)[:5]}")

    def _one_holder(self, moves: list[Move]) -> None:
        holders: dict[str, str] = {}
        for move in moves:
            key = move.unique_key or self.unique.get(move.job)
            if key is None:
                continue
            holder = holders.get(key)
            if not move.live:
                if holder == move.job:
                    del holders[key]
            elif holder is None or holder == move.job:
                holders[key] = move.job
            else:
                raise Violation(f"{holder} and {move.job} live at once with the unique key {key}")
