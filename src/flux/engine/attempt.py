"""One attempt: the handler under its deadline, in the loop, in a thread, in a child process, or in a chunk.

An attempt has two ends. It is *concluded* when its outcome is handed over, and *over* when its code has really
returned; only then is its slot free. Usually both are one moment. They part where code cannot be stopped: a thread past
its deadline is concluded at once, and its slot stays held, visibly, until the thread returns.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from enum import Enum, auto
from random import Random
from typing import Protocol

from flux.domain.duration import format_duration
from flux.domain.job import ClaimedJob, ErrorKind, JobState, LogLine, Outcome
from flux.domain.words import agree, plural
from flux.engine import ending as endings
from flux.engine.capture import current
from flux.engine.context import Context, Desk
from flux.engine.ending import Ending
from flux.engine.handler import Handler, Mode
from flux.engine.ports import Transactions
from flux.engine.threads import Raised, Threads
from flux.engine.transaction import HandlerTransaction

logger = logging.getLogger("flux.attempt")

LISTENS = 4
"""How often an attempt is listened for within its heartbeat timeout: so much later than due, at most, it is ended."""

STUBBORN = 5.0
"""Seconds that an async handler has to end after it was told to, before it is concluded without it."""


class Stop(Enum):
    """Why an attempt was told to stop."""

    TIMEOUT = auto()
    CANCEL = auto()
    RELEASE = auto()
    FENCE = auto()


class Isolation(Protocol):
    """Where process-isolated handlers run."""

    async def run(self, handler: Handler, claimed: ClaimedJob, desk: Desk) -> Ending:
        """Run one attempt in a child; cancelling this kills the child."""
        ...


class Room:
    """What all attempts of a worker share."""

    def __init__(
        self,
        desk: Desk,
        threads: Threads,
        isolation: Isolation,
        random: Random,
        max_result: int,
        conclude: Callable[[Outcome], None],
        over: Callable[[Attempt], None],
        transactions: Transactions,
    ) -> None:
        self.desk = desk
        self.threads = threads
        self.isolation = isolation
        self.random = random
        self.max_result = max_result
        self.conclude = conclude
        self.over = over
        self.transactions = transactions


class Attempt:
    """One running attempt."""

    __slots__ = (
        "_begun",
        "_ear",
        "_room",
        "_stubborn",
        "_task",
        "_timer",
        "_too_slow",
        "committed",
        "concluded",
        "context",
        "handler",
        "job",
        "reason",
        "stop_reason",
    )

    def __init__(self, job: ClaimedJob, handler: Handler, room: Room) -> None:
        self.job = job
        self.handler = handler
        self.context = Context(job, room.desk)
        self.concluded = False
        self.committed = False
        self.stop_reason: Stop | None = None
        self.reason: str | None = None
        self._begun = False
        self._too_slow: str | None = None
        self._ear: asyncio.TimerHandle | None = None
        self._room = room
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stubborn: asyncio.TimerHandle | None = None

    # --- from outside ---

    def start(self, loop: asyncio.AbstractEventLoop, spent: int) -> None:
        """Begin to run. ``spent``: see ``arm``."""
        self.arm(loop, spent)
        mode = self.handler.mode
        run = (
            self._run_async
            if mode is Mode.ASYNC
            else self._run_thread
            if mode is Mode.THREAD
            else self._run_process
        )
        self._task = loop.create_task(run())

    def join(self, chunk: asyncio.Task[None]) -> None:
        """Run as a member of a chunk's call."""
        self._task = chunk

    def arm(self, loop: asyncio.AbstractEventLoop, spent: int) -> None:
        """Let the deadline count. ``spent`` µs of it are over: those since the claim was *sent*.

        The store counts from the claim, which came after the sending: so this deadline is never the later one, however
        long the answer was under way, and the job is not rescued while it still runs here.
        """
        timeout = self.timeout
        if timeout is None:
            return
        if spent >= timeout:
            self.stop(Stop.TIMEOUT)
        else:
            self._timer = loop.call_later((timeout - spent) / 1_000_000, self.stop, Stop.TIMEOUT)

    def stop(self, why: Stop, reason: str | None = None) -> None:
        """Tell it to stop; the first reason counts, except that a fence is stronger than all."""
        if self.concluded:
            if self.committed and self._task is not None:
                self._task.cancel()  # what it still does counts for nothing, and has no more time
            return
        if why is Stop.FENCE:
            # What it does from here on counts for nothing: somebody else owns the job.
            self.stop_reason, self.concluded = why, True
        elif self.stop_reason is not None:
            if why is Stop.TIMEOUT and self.handler.mode is Mode.THREAD:
                # It was told before, and has used up its time: what was wished then comes true now.
                self._conclude(self._stopped())
            return
        else:
            self.stop_reason, self.reason = why, reason
        self.context.cancel_flag().set()
        if not (self.handler.chunk and why is Stop.CANCEL):
            self.context.stop()
        if self.handler.chunk and self._task is None:
            # It waits for others to fill its chunk: nothing of it runs, so that it is over at once.
            self._end(self._stopped())
        elif self.handler.chunk and why is Stop.CANCEL:
            # One member leaves; the call goes on for the others, and what it says of this one is ignored.
            self._conclude(self._stopped())
        elif self.handler.mode is Mode.THREAD:
            if why is Stop.TIMEOUT:
                self._conclude(self._stopped())
        elif self._task is not None and self._begun:
            # Not before its first step: asyncio would end the task without entering it, and so without an end. What
            # was told to stop that early sees it in begin().
            self._task.cancel()
            if not self.concluded:
                loop = self._task.get_loop()
                self._stubborn = loop.call_later(STUBBORN, self._conclude_without)

    def begin(self) -> bool:
        """Its first step; False when it was told to stop before."""
        self._begun = True
        return self.stop_reason is None

    def listen(self, call: Sequence[Attempt] = ()) -> None:
        """Let the heartbeat timeout count, if its handler has one: its code is about to run. ``call``: all attempts of
        a chunk, which are silent together."""
        if self.handler.heartbeat_timeout is not None and self._ear is None:
            self._listen(asyncio.get_running_loop(), call or (self,), -1, 0)

    def _listen(
        self, loop: asyncio.AbstractEventLoop, call: Sequence[Attempt], before: int, silent: int
    ) -> None:
        timeout, beats = self.handler.heartbeat_timeout or 0, self.context.beats
        silent = silent + 1 if beats == before else 0
        if silent < LISTENS:
            every = timeout / LISTENS / 1_000_000
            self._ear = loop.call_later(every, self._listen, loop, call, beats, silent)
            return
        for attempt in call:
            attempt._too_slow = f"said nothing for its heartbeat timeout of {format_duration(timeout)}"
            attempt.stop(Stop.TIMEOUT)

    def abandon(self) -> None:
        """Conclude now, whatever its code still does: its worker leaves."""
        if not self.concluded:
            if self.stop_reason is None:
                self.stop_reason = Stop.RELEASE
            self._conclude(self._stopped())

    @property
    def timeout(self) -> int | None:
        """How long it may take (µs); a caller that named none (over REST, say) gets what the handler declares."""
        return self.handler.default_timeout if self.job.timeout is None else self.job.timeout

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What runs it."""
        return self._task

    # --- running ---

    async def _run_async(self) -> None:
        if not self.begin():
            return self._end(self._stopped())
        self.listen()
        context = self.context
        context.transact = self._transaction
        current.set(context)
        try:
            ending = endings.of_value(await self.handler.call(context), self._room.max_result)
            if self.stop_reason is Stop.TIMEOUT:
                ending = self._stopped()
        except BaseException as error:
            ending = self._raised(error)
        if context.leaks:
            self._end_leaks()
        self._end(ending)

    async def _run_thread(self) -> None:
        if not self.begin():
            return self._end(self._stopped())
        self.listen()
        context, handler = self.context, self.handler
        context.cancel_flag()
        current.set(context)
        try:
            ending = endings.of_value(
                await self._room.threads.run(lambda: handler.call(context)), self._room.max_result
            )
        except Raised as raised:
            ending = self._raised(raised.error)
        except asyncio.CancelledError:
            ending = self._stopped()
        except BaseException as error:
            # Not the handler but its value raised, when it was made into JSON.
            ending = self._raised(error)
        self._end(ending)

    async def _run_process(self) -> None:
        if not self.begin():
            return self._end(self._stopped())
        try:
            ending = await self._room.isolation.run(self.handler, self.job, _Ear(self, self._room.desk))
        except asyncio.CancelledError:
            ending = self._stopped()
        except Exception as error:
            logger.exception("job %s: its child process could not be used", self.job.id)
            ending = endings.failed(ErrorKind.CRASHED, f"the handler's process could not be used: {error}")
        self._end(ending)

    def _raised(self, error: BaseException) -> Ending:
        # What it makes of being told to stop (an OSError of the connection that was cut, say) is no failure of its own.
        return self._stopped() if self.stop_reason else endings.of_exception(error, self.handler.no_retry)

    def _stopped(self) -> Ending:
        if self.stop_reason is Stop.TIMEOUT:
            timeout = format_duration(self.timeout or 0)
            return endings.timed_out(self._too_slow or f"did not finish within its timeout of {timeout}")
        if self.stop_reason is Stop.CANCEL:
            return endings.cancelled(self.reason)
        return endings.RELEASED

    # --- a transaction of its handler, which ends it by its commit ---

    def _transaction(self, isolation: str) -> HandlerTransaction:
        room = self._room
        return HandlerTransaction(self, room.transactions, room.desk.flush, room.max_result, isolation)

    @property
    def told_to_stop(self) -> bool:
        """See ``Completable``."""
        return self.stop_reason is not None

    def refuse(self, ending: Ending) -> None:
        """See ``Completable``."""
        self._conclude(ending)

    def completed(self) -> None:
        """See ``Completable``: there is no outcome to hand over any more."""
        self.concluded = self.committed = self.context.closed = True

    def _too_late(self, ending: Ending) -> None:
        what = None
        if ending.error is not None:
            what = f"raised {ending.error.message.partition(chr(10))[0][:300]}"
        elif ending.result not in (None, b"null"):
            what = "returned a value (it belongs into ctx.result, within the block)"
        if what is not None:
            logger.warning(
                "job %s (%s): its transaction has committed its success; that its handler then %s changes nothing",
                self.job.id,
                self.job.type,
                what,
            )

    # --- its ends ---

    def settle(self, ending: Ending) -> None:
        """The end, for attempts that a chunk runs."""
        if self.stop_reason is Stop.TIMEOUT or (self.stop_reason and ending is endings.RELEASED):
            ending = self._stopped()
        self._end(ending)

    def _end(self, ending: Ending) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stubborn is not None:
            self._stubborn.cancel()
        if self._ear is not None:
            self._ear.cancel()
        try:
            self._conclude(ending)
        finally:
            self._room.over(self)

    def _conclude(self, ending: Ending) -> None:
        if self.concluded:
            if self.committed:
                self._too_late(ending)
            return
        self.concluded = True
        self.context.closed = True
        try:
            outcome = endings.outcome_of(ending, self.job, self._room.random.random())
        except Exception as error:
            # An attempt without an outcome would leave its job running for ever.
            logger.exception("job %s: its end could not be judged", self.job.id)
            wrong = endings.failed(ErrorKind.BAD_RESULT, f"the attempt's end could not be judged: {error}")
            outcome = endings.outcome_of(wrong, self.job, 0.0)
        if outcome.error is not None:
            self._tell(outcome)
        self._room.conclude(outcome)

    def _tell(self, outcome: Outcome) -> None:
        """A failure in the log of the process, for whoever has no dashboard at hand."""
        error = outcome.error
        assert error is not None
        what = {
            JobState.RETRYING: f"tried again in {format_duration(outcome.delay)}",
            JobState.DEAD: "the job is dead",
            JobState.CANCELLED: "the job is cancelled",
        }.get(outcome.state, f"the job is {outcome.state}")
        level = logging.ERROR if outcome.state is JobState.DEAD else logging.WARNING
        if outcome.state is JobState.CANCELLED:
            level = logging.INFO
        logger.log(
            level,
            "job %s (%s): attempt %d of %d ended by %s: %s; %s",
            self.job.id,
            self.job.type,
            self.job.attempt,
            self.job.attempt_limit,
            error.kind,
            error.message.partition("\n")[0][:300],
            what,
        )

    def _conclude_without(self) -> None:
        logger.warning(
            "job %s (%s): its handler does not end although it was told to; its slot stays held",
            self.job.id,
            self.job.type,
        )
        self._conclude(self._stopped())

    def _end_leaks(self) -> None:
        leaks = self.context.leaks or set()
        mine = asyncio.current_task()
        left = [task for task in leaks if task is not mine and not task.done()]
        if left:
            tasks, were = plural(len(left), "task"), agree(len(left), "was", "were")
            self.context.log("WARNING", f"{tasks} that the handler started and left running {were} cancelled")
            for task in left:
                task.cancel()


class _Ear:
    """The desk of an attempt in a child process, of which the worker hears only here."""

    __slots__ = ("_attempt", "_desk", "flush", "now")

    def __init__(self, attempt: Attempt, desk: Desk) -> None:
        self._attempt = attempt
        self._desk = desk
        self.flush = desk.flush
        self.now = desk.now

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        """See ``Desk``."""
        if progress is not None or checkpoint is not None:
            self._heard()
        self._desk.note(job, progress=progress, checkpoint=checkpoint, log=log)

    def heartbeat(self, job: ClaimedJob) -> None:
        """See ``Desk``. The first one says that the handler begins."""
        self._heard()
        self._desk.heartbeat(job)

    def _heard(self) -> None:
        self._attempt.context.beats += 1
        self._attempt.listen()
