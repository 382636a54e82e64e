"""``async with ctx.transaction() as conn``: what a handler writes and its job's success commit together, or neither.

The success is the last statement before the commit, and fenced: a worker that lost its claim meanwhile commits nothing.
After the block the attempt has its outcome; what the handler still does changes nothing about it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, TypeVar

import msgspec

from flux.domain.errors import InDoubt, LeaseLost, Unavailable
from flux.domain.job import AttemptOutcome, ClaimedJob
from flux.engine.capture import shared_task
from flux.engine.context import Context
from flux.engine.ending import Ending, of_value
from flux.engine.ports import Transaction, Transactions

T = TypeVar("T")

logger = logging.getLogger("flux.transaction")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class Completable(Protocol):
    """The attempt, as its transaction sees it."""

    job: ClaimedJob
    context: Context

    @property
    def told_to_stop(self) -> bool:
        """Whether it was: cancelled, past its deadline, or its worker leaves."""
        ...

    @property
    def concluded(self) -> bool:
        """Whether it has its outcome."""
        ...

    def refuse(self, ending: Ending) -> None:
        """It ends so."""
        ...

    def completed(self) -> None:
        """Its success is committed."""
        ...


class HandlerTransaction:
    """One block."""

    def __init__(
        self,
        attempt: Completable,
        transactions: Transactions,
        flush: Callable[[], Coroutine[Any, Any, None]],
        max_result: int,
        isolation: str,
    ) -> None:
        """``flush`` stores what the attempt has said: once its job has ended nobody takes its lines any more."""
        self._attempt = attempt
        self._transactions = transactions
        self._flush = flush
        self._max_result = max_result
        self._isolation = isolation
        self._open: Transaction | None = None

    async def __aenter__(self) -> Any:
        if self._attempt.concluded:
            raise RuntimeError("a transaction has completed this job already")
        self._open = await self._transactions.begin(self._isolation)
        return self._open.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transaction = self._open
        assert transaction is not None
        if kind is not None:
            await transaction.rollback()
            return
        try:
            result = self._result()
            await self._flush()
            if self._attempt.told_to_stop or self._attempt.concluded:
                raise asyncio.CancelledError
            stopped = await _to_its_end(self._complete(transaction, result))
        except BaseException:
            await transaction.rollback()
            raise
        if stopped:
            raise asyncio.CancelledError

    def _result(self) -> bytes:
        value = self._attempt.context.result
        ending = of_value(None if value is msgspec.UNSET else value, self._max_result)
        if ending.how is AttemptOutcome.SUCCEEDED and ending.result is not None:
            return ending.result
        if ending.how is not AttemptOutcome.FAILED:
            raise TypeError(
                "ctx.result is what the job gives; Snooze and Cancel are returned without a transaction"
            )
        self._attempt.refuse(ending)
        raise ValueError(ending.error.message if ending.error else "the result cannot be kept")

    async def _complete(self, transaction: Transaction, result: bytes) -> None:
        job = self._attempt.job
        try:
            ours: bool | None = await transaction.complete(job.id, job.claim_id, result)
            lost = False
        except InDoubt as error:
            logger.warning("job %s: %s; asking what became of it", job.id, error)
            ours, lost = await self._ask(), True
        if ours:
            self._attempt.completed()
        elif lost and ours is False:
            raise Unavailable("the connection was lost at the commit, and nothing was kept")
        else:
            raise LeaseLost(
                "the job belongs to another claim by now: nothing that this attempt wrote was kept"
            )

    async def _ask(self) -> bool | None:
        """Until the store knows. Nothing is said of the attempt before: if it cannot be known, the end of the lease and
        the rescuer, whom a commit under way keeps waiting, settle it."""
        job, pause = self._attempt.job, _FIRST_PAUSE
        while not self._attempt.concluded:
            try:
                kept = await self._transactions.kept(job.id, job.claim_id)
                logger.info("job %s: the commit was %s", job.id, "kept" if kept else "not kept")
                return kept
            except Unavailable as error:
                logger.warning("job %s: the store does not say yet (%s)", job.id, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return None


async def _to_its_end(work: Coroutine[Any, Any, None]) -> bool:
    """Wait for it even when told to stop: a commit that is on its way comes to an end of its own. True: was told."""
    task = shared_task(work)
    stopped = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            stopped = True
    task.result()
    return stopped
