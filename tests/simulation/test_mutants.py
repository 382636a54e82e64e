"""The simulation can fail: each of these breaks one promise, and is found within a few worlds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import pytest

from flux.domain.duration import SECOND
from flux.domain.errors import FluxError
from flux.domain.job import ClaimedJob, Inserted, JobState, NewJob, Outcome
from flux.engine.lease import Lease
from flux.engine.ports import Demand, Store
from tests.simulation.actors import Actor, WorkerActor
from tests.simulation.audit import Violation
from tests.simulation.world import STRICT, Climate, World

WORLDS = 12


class _Jobs:
    """The port ``Jobs`` of a store, to be overridden in one verb."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, verb: str) -> Any:
        return getattr(self.inner, verb)


class _Mutant:
    """A store with another ``jobs``."""

    def __init__(self, inner: Store, jobs: _Jobs) -> None:
        self._inner = inner
        self.jobs = jobs

    def __getattr__(self, port: str) -> Any:
        return getattr(self._inner, port)


def mutant(jobs: Callable[[Any], _Jobs]) -> Callable[[Store], Store]:
    return lambda store: cast(Store, _Mutant(store, jobs(store.jobs)))


def without_the_fence() -> Callable[[Store], Store]:
    """``finish`` goes by the job's id alone: whoever runs it now is ended by whoever ran it once."""
    newest: dict[str, int] = {}

    class Unfenced(_Jobs):
        async def claim(self, demand: Demand) -> list[ClaimedJob]:
            claimed: list[ClaimedJob] = await self.inner.claim(demand)
            newest.update({job.id: job.claim_id for job in claimed})
            return claimed

        async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
            forged = [
                msgspec.structs.replace(each, claim_id=newest.get(each.job_id, each.claim_id))
                for each in outcomes
            ]
            answer: list[JobState | None] = await self.inner.finish(worker_id, forged)
            return answer

    return mutant(Unfenced)


def forgetting(every: int = 20) -> Callable[[Store], Store]:
    """Now and then a job is answered and not stored."""
    count = 0

    class Forgetting(_Jobs):
        async def insert(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
            nonlocal count
            count += 1
            if count % every or any(job.idempotency for batch in batches for job in batch):
                stored: list[list[Inserted] | FluxError] = await self.inner.insert(batches)
                return stored
            return [[Inserted(job.id, JobState.AVAILABLE, 0, 0) for job in batch] for batch in batches]

    return mutant(Forgetting)


def without_keys() -> Callable[[Store], Store]:
    """Idempotency keys are ignored."""

    class Keyless(_Jobs):
        async def insert(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
            bare = [[msgspec.structs.replace(job, idempotency=None) for job in batch] for batch in batches]
            stored: list[list[Inserted] | FluxError] = await self.inner.insert(bare)
            return stored

    return mutant(Keyless)


def without_uniqueness() -> Callable[[Store], Store]:
    """Every unique job has a key of its own."""

    class Common(_Jobs):
        async def insert(self, batches: Sequence[Sequence[NewJob]]) -> list[list[Inserted] | FluxError]:
            bare = [[msgspec.structs.replace(job, unique=None) for job in batch] for batch in batches]
            stored: list[list[Inserted] | FluxError] = await self.inner.insert(bare)
            return stored

    return mutant(Common)


def without_counting() -> Callable[[Store], Store]:
    """A failed attempt is given back instead of counted, so that retries never end; and the last one is tried again."""

    class Endless(_Jobs):
        async def finish(self, worker_id: str, outcomes: Sequence[Outcome]) -> list[JobState | None]:
            forged = [
                msgspec.structs.replace(each, state=JobState.RETRYING)
                if each.state is JobState.DEAD
                else each
                for each in outcomes
            ]
            answer: list[JobState | None] = await self.inner.finish(worker_id, forged)
            return answer

    return mutant(Endless)


class CutOffs(World):
    """The only bad luck is that one worker after the other is cut off from the store, for longer than its lease."""

    storms = (60.0,)
    _healed = 0.0

    def _strike(self, actor: Actor) -> None:
        now, lease = self.loop.time(), self.lease / SECOND
        if isinstance(actor, WorkerActor) and actor.faults is not None and now > self._healed:
            self.history.say("%s is cut off from the store", actor.process.name)
            actor.faults.partitioned_until = now + 3 * lease
            self._healed = now + 4 * lease


class LongWays(World):
    """Much is under way for longer than a lease."""

    def _brew(self) -> None:
        super()._brew()
        self.weather.flight = 0.1
        self.weather.longest = 6 * self.lease / SECOND


def found(
    climate: Climate,
    wrap: Callable[[], Callable[[Store], Store]] | None = None,
    kind: type[World] = World,
    worlds: int = WORLDS,
) -> str:
    """What the first world says that sees something; nothing when none does."""
    for seed in range(1, worlds + 1):
        try:
            kind(seed, lives=250, wrap=wrap and wrap(), climate=climate).run()
        except Violation as violation:
            return str(violation)
    return ""


@pytest.mark.parametrize(
    ("make", "words", "kind"),
    [
        # An outcome must come late enough to meet the next claim.
        (without_the_fence, "by a claim that was not its last", LongWays),
        (forgetting, "accepted and lost", World),
        (without_keys, "idempotency key", World),
        (without_uniqueness, "live at once with the unique key", World),
        (without_counting, "was claimed for attempt", World),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_store_is_found(
    make: Callable[[], Callable[[Store], Store]], words: str, kind: type[World]
) -> None:
    assert words in found(Climate(), make, kind)


def test_a_worker_that_does_not_fence_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "safe_until", property(lambda self: 1 << 62))
    assert "did not fence itself" in found(STRICT, kind=CutOffs)


def test_a_worker_that_fences_itself_may_be_cut_off() -> None:
    assert found(STRICT, kind=CutOffs, worlds=3) == ""
