"""Outcomes, gathered and committed in batches away from the handlers, and what attempts say before their end."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress

from flux.domain.errors import DataRefused, FluxError
from flux.domain.job import (
    AttemptOutcome,
    ClaimedJob,
    ErrorKind,
    JobError,
    JobState,
    LogLine,
    Outcome,
)
from flux.domain.words import agree, plural
from flux.engine.ports import Broker, Clock, Jobs, Note

logger = logging.getLogger("flux.completer")

MOST_AT_ONCE = 1000
NOTES_EVERY = 0.2
"""Seconds between two writes of progress and log lines of attempts that still run."""

HEARTBEATS_EVERY = 1.0
"""The same for heartbeats that come without anything else."""


class Completer:
    """Writes outcomes for one worker: at once when idle, in batches as large as what gathered meanwhile under load.

    A store that is away is asked again until the lease ends; after that the outcomes are worthless, because their jobs
    belong to somebody else.
    """

    def __init__(self, jobs: Jobs, broker: Broker, worker_id: str, clock: Clock) -> None:
        self._jobs = jobs
        self._broker = broker
        self._worker_id = worker_id
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._outcomes: list[Outcome] = []
        self._notes: dict[tuple[str, int], Note] = {}
        self._heartbeats: dict[tuple[str, int], ClaimedJob] = {}
        self._heartbeats_due = False
        self._lock = threading.Lock()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._notes_due = False
        self._flushes: list[asyncio.Future[None]] = []
        self._fenced = False
        self._unheard = False
        """Whether a batch was sent whose answer never came."""

    # --- the Desk of attempts ---

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        """Keep a remark of a running attempt; from any thread."""
        with self._lock:
            note = self._note_of(job)
            if progress is not None:
                note.progress = progress
            if checkpoint is not None:
                note.checkpoint = checkpoint
            if log is not None:
                if note.logs is None:
                    note.logs = []
                note.logs.append(log)
            if self._notes_due:
                return
            self._notes_due = True
        with suppress(RuntimeError):  # the loop is closed: the worker is gone, and so is the claim
            self._loop.call_soon_threadsafe(self._loop.call_later, NOTES_EVERY, self._wake.set)

    def heartbeat(self, job: ClaimedJob) -> None:
        """Keep that a running attempt was heard; from any thread."""
        key = job.id, job.claim_id
        if key in self._heartbeats:
            return  # most often, without the lock
        with self._lock:
            self._heartbeats[key] = job
            if self._heartbeats_due:
                return
            self._heartbeats_due = True
        with suppress(RuntimeError):  # as above
            self._loop.call_soon_threadsafe(self._loop.call_later, HEARTBEATS_EVERY, self._note_heartbeats)

    def _note_heartbeats(self) -> None:
        with self._lock:
            heard, self._heartbeats = self._heartbeats, {}
            self._heartbeats_due = False
            if not heard:
                return  # they have ended meanwhile
            for job in heard.values():
                self._note_of(job).heard = True
            self._notes_due = True
        self._wake.set()

    def _note_of(self, job: ClaimedJob) -> Note:
        note = self._notes.get((job.id, job.claim_id))
        if note is None:
            note = Note(job_id=job.id, claim_id=job.claim_id, attempt=job.attempt)
            self._notes[(job.id, job.claim_id)] = note
        return note

    async def flush(self) -> None:
        """Return when what attempts said so far is stored."""
        # Written by the one who writes: a handler that is cancelled here must not take the others' remarks along.
        stored: asyncio.Future[None] = self._loop.create_future()
        self._flushes.append(stored)
        self._wake.set()
        await stored

    def now(self) -> int:
        """Wall time, for log lines."""
        return self._clock.now()

    # --- outcomes ---

    def add(self, outcome: Outcome) -> None:
        """Hand over how an attempt ended."""
        if self._fenced:
            return
        self._outcomes.append(outcome)
        self._idle.clear()
        self._wake.set()

    def holds(self, job_id: str, claim_id: int) -> bool:
        """Whether an outcome of this claim waits to be committed; one of an earlier claim of the job ends nothing."""
        return any(outcome.job_id == job_id and outcome.claim_id == claim_id for outcome in self._outcomes)

    def fence(self) -> None:
        """The lease is lost: drop everything."""
        self._fenced = True
        if self._outcomes:
            logger.warning(
                "the lease ended before %s could be written; %s rescued and run again",
                plural(len(self._outcomes), "outcome"),
                agree(len(self._outcomes), "that job is", "those jobs are"),
            )
        self._outcomes.clear()
        self._idle.set()
        self._wake.set()

    async def drained(self) -> None:
        """Return when every outcome is committed (or dropped with the lease)."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        delay = 0.0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._outcomes and not self._fenced:
                    await self._write_some()
                if self._notes_due or self._flushes:
                    await self._write_notes()
                delay = 0.0
            except FluxError as error:
                delay = min(2.0, delay * 2 or 0.05)
                logger.warning(
                    "cannot write %s yet (%s); trying again in %.1f s",
                    plural(len(self._outcomes), "outcome") if self._outcomes else "what attempts said",
                    error,
                    delay,
                )
                await asyncio.sleep(delay)
                self._wake.set()
            if not self._outcomes:
                self._idle.set()

    async def _write_some(self) -> None:
        batch = self._outcomes[:MOST_AT_ONCE]
        notes = self._last_words(batch)
        if notes:
            await self._keep(notes)
        unheard, self._unheard = self._unheard, True
        states = await self._finish(batch)
        self._unheard = False
        # Only now: until the answer is there, a failing store must find them still waiting.
        del self._outcomes[: len(batch)]
        if JobState.AVAILABLE in states or any(outcome.in_workflow for outcome in batch):
            # Handed back, they start elsewhere at once; and the end of a step makes others available.
            await self._broker.poke()
        lost = sum(state is None for state in states)
        if lost:
            logger.warning(
                "%d of %s %s",
                lost,
                plural(len(batch), "outcome"),
                "had been written already when the answer was lost, or came too late"
                if unheard
                else agree(lost, "came too late: its job belongs", "came too late: their jobs belong")
                + " to another claim",
            )

    async def _finish(self, batch: list[Outcome]) -> list[JobState | None]:
        try:
            return await self._jobs.finish(self._worker_id, batch)
        except DataRefused as error:
            if len(batch) > 1:
                # Halved until the bad row stands alone: it fails by itself, never its batch.
                half = len(batch) // 2
                return await self._finish(batch[:half]) + await self._finish(batch[half:])
            outcome = batch[0]
            logger.error("job %s: the store refused its outcome: %s", outcome.job_id, error)
            return await self._jobs.finish(self._worker_id, [_refused(outcome, str(error))])

    def _last_words(self, batch: list[Outcome]) -> list[Note]:
        """Progress and checkpoints said just before the end; log lines go along with the outcome."""
        if not self._notes and not self._heartbeats:
            return []
        left = []
        with self._lock:
            for outcome in batch:
                self._heartbeats.pop((outcome.job_id, outcome.claim_id), None)
                note = self._notes.pop((outcome.job_id, outcome.claim_id), None)
                if note is None:
                    continue
                if note.logs:
                    outcome.logs = note.logs if outcome.logs is None else outcome.logs + note.logs
                    note.logs = None
                if note.progress is not None or note.checkpoint is not None:
                    left.append(note)
        return left

    async def _write_notes(self) -> None:
        with self._lock:
            notes, self._notes = list(self._notes.values()), {}
            self._notes_due = False
        flushes, self._flushes = self._flushes, []
        try:
            if notes:
                await self._keep(notes)
        except BaseException:
            self._flushes = flushes + self._flushes
            raise
        for stored in flushes:
            if not stored.done():
                stored.set_result(None)

    async def _keep(self, notes: list[Note]) -> None:
        """Write remarks; what a store that is away did not take is kept for the next time."""
        try:
            await self._jobs.note(notes)
        except DataRefused as error:
            logger.error("what %s said was refused by the store: %s", plural(len(notes), "attempt"), error)
        except FluxError:
            with self._lock:
                for note in notes:
                    self._put_back(note)
            raise

    def _put_back(self, note: Note) -> None:
        later = self._notes.setdefault((note.job_id, note.claim_id), note)
        if later is not note:
            later.progress = note.progress if later.progress is None else later.progress
            later.checkpoint = note.checkpoint if later.checkpoint is None else later.checkpoint
            later.logs = (note.logs or []) + (later.logs or [])
            later.heard = later.heard or note.heard
        self._notes_due = True


def _refused(outcome: Outcome, why: str) -> Outcome:
    """The outcome of an attempt whose own outcome the store cannot keep."""
    error = JobError(ErrorKind.BAD_RESULT, f"the store refused the outcome: {why}"[:1000].replace("\0", ""))
    return Outcome(
        job_id=outcome.job_id,
        claim_id=outcome.claim_id,
        attempt=outcome.attempt,
        state=JobState.DEAD,
        how=AttemptOutcome.FAILED,
        error=error,
    )
