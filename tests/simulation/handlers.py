"""The handlers of the simulated workers, one of each kind, and a witness of every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from flux.domain.job import Outcome
from flux.engine.context import Context
from flux.engine.handler import Cancel, Discard, Handler, RetryAfter, Snooze
from tests.simulation.loop import STRAND, Process


class Run(msgspec.Struct):
    """One call of a handler, as the handler itself saw it."""

    job_id: str
    attempt: int
    claim_id: int
    process: str
    began: float
    owned_until: int
    ended: float | None = None


class Witness:
    """Stands outside of all processes and writes down what the handlers really did."""

    def __init__(self, time: Callable[[], float], wall: Callable[[], int]) -> None:
        self._time = time
        self._wall = wall
        self.runs: dict[str, list[Run]] = {}
        self.checkpoints: dict[str, list[int]] = {}
        self.active: dict[str, list[tuple[Run, Process]]] = {}
        self.wrong: list[str] = []
        self.exclusive = False
        self.total = 0

    def began(self, context: Context) -> Run:
        """A handler's first step."""
        process = STRAND.get().process
        claimed = context.claimed
        run = Run(
            job_id=context.job_id,
            attempt=context.attempt,
            claim_id=claimed.claim_id,
            process=process.name,
            began=self._time(),
            # Past its deadline a job may be taken from its worker, whatever that one says; before, it is exclusive.
            owned_until=1 << 62 if claimed.timeout is None else claimed.started_at + claimed.timeout,
        )
        self.total += 1
        self.runs.setdefault(run.job_id, []).append(run)
        if context.attempt > context.max_attempts:
            self.wrong.append(f"{run.job_id} ran attempt {run.attempt} of {context.max_attempts}")
        if any(other.claim_id == run.claim_id for other in self.runs[run.job_id] if other is not run):
            self.wrong.append(f"{run.job_id} ran twice under one claim")
        active = self.active.setdefault(run.job_id, [])
        if self.exclusive:
            for other, where in active:
                if not where.dead and self._wall() < other.owned_until:
                    self.wrong.append(
                        f"{run.job_id} runs in {process.name} while it runs in {other.process} "
                        f"since {other.began:.3f}: its worker did not fence itself"
                    )
        active.append((run, process))
        return run

    def ended(self, run: Run) -> None:
        """Its last step."""
        run.ended = self._time()
        self.active[run.job_id] = [pair for pair in self.active[run.job_id] if pair[0] is not run]

    def completed(self, outcome: Outcome) -> bool:
        """Whether a handler has run to its end under this claim."""
        return any(
            run.claim_id == outcome.claim_id and run.ended is not None
            for run in self.runs.get(outcome.job_id, ())
        )

    def times(self, job_id: str) -> int:
        """How often a job has begun to run."""
        return len(self.runs.get(job_id, ()))


def result_of(job_id: str) -> bytes:
    """What a handler that succeeds returns, so that one can tell whose result a job has."""
    return msgspec.json.encode({"did": job_id})


def handlers(witness: Witness) -> dict[str, Handler]:
    """By type."""

    def watched(call: Callable[[Context], Any]) -> Callable[[Context], Any]:
        async def run(context: Context) -> Any:
            seen = witness.began(context)
            try:
                value = await call(context)
                return {"did": context.job_id} if value is None else value
            finally:
                witness.ended(seen)

        return run

    async def ok(context: Context) -> Any:
        return None

    async def sleep(context: Context) -> Any:
        await asyncio.sleep(context.payload["seconds"])

    async def fail(context: Context) -> Any:
        await asyncio.sleep(context.payload["seconds"])
        if witness.times(context.job_id) <= context.payload["times"]:
            raise ValueError("not yet")

    async def snooze(context: Context) -> Any:
        await asyncio.sleep(context.payload["seconds"])
        if witness.times(context.job_id) <= context.payload["times"]:
            return Snooze(context.payload["seconds"])
        return None

    async def hang(context: Context) -> Any:
        await asyncio.Event().wait()

    async def count(context: Context) -> Any:
        """Goes on from its checkpoint, which must be one that an earlier attempt has written."""
        start = context.last_checkpoint or 0
        written = witness.checkpoints.setdefault(context.job_id, [])
        if start and start not in written:
            witness.wrong.append(f"{context.job_id} read the checkpoint {start}, written are {written}")
        for n in range(start + 1, context.payload["times"] + 1):
            await asyncio.sleep(context.payload["seconds"])
            written.append(n)
            context.progress(n, context.payload["times"])
            stored = context.checkpoint(n)
            if n % 2:
                await stored
            context.logger.info("counted to %d", n)

    async def whim(context: Context) -> Any:
        await asyncio.sleep(context.payload["seconds"])
        match context.payload["wish"]:
            case "cancel":
                return Cancel("not wanted any more")
            case "discard":
                return Discard("never mendable")
            case "later" if witness.times(context.job_id) <= context.payload["times"]:
                raise RetryAfter(context.payload["seconds"])
            case "nonsense":
                return {"a": object()}
        return None

    async def transact(context: Context) -> Any:
        """Writes down that it ran, together with its success."""
        await asyncio.sleep(context.payload["seconds"])
        async with context.transaction() as connection:
            await connection.execute("INSERT INTO trail.writes (job) VALUES ($1)", context.job_id)
            if witness.times(context.job_id) <= context.payload["times"] - 2:
                raise ValueError("not yet")
            await asyncio.sleep(context.payload["seconds"] / 10)
            context.result = {"did": context.job_id}

    async def chunk(contexts: Sequence[Context]) -> Any:
        seen = [witness.began(context) for context in contexts]
        try:
            await asyncio.sleep(0.2)
            return [{"did": context.job_id} for context in contexts]
        finally:
            for run in seen:
                witness.ended(run)

    known = {
        kind.__name__: Handler(type=kind.__name__, call=watched(kind))
        for kind in (ok, sleep, fail, snooze, hang, count, whim, transact)
    }
    known["chunk"] = Handler(type="chunk", call=watched(ok), call_chunk=chunk, chunk=4, chunk_wait=100_000)
    return known
