"""Group commit: what arrives while a batch is under way shares the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from flux.engine.capture import shared_task

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Gathers items of concurrent callers into batches, one batch in flight at a time.

    An idle batcher flushes at once, so a lone caller waits for nothing; under load the batch is as large as what came
    in meanwhile. ``flush`` answers for each item in order; an answer that is an exception is raised to its caller, and
    an exception of ``flush`` itself to all of the batch.
    """

    def __init__(
        self,
        flush: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        most: int,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> None:
        """``most`` bounds the ``weight`` of a batch, which has at least one item."""
        self._flush = flush
        self._most = most
        self._weight = weight
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Hand over one item; returns its answer once its batch is through.

        A caller that is cancelled meanwhile leaves its item in the batch: it may already be stored.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._runner is None:
            self._runner = shared_task(self._run())
        return await future

    async def drain(self) -> None:
        """Return when everything handed over so far has its answer."""
        while self._runner is not None:
            await asyncio.wait([self._runner])

    async def _run(self) -> None:
        try:
            # One turn of the loop: callers that are ready in the same instant share the first batch already.
            await asyncio.sleep(0)
            while self._waiting:
                count = self._fitting()
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                await self._flush_one(batch)
        finally:
            self._runner = None
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()

    def _fitting(self) -> int:
        room, count = self._most, 0
        for item, _ in self._waiting:
            room -= self._weight(item)
            if count and room < 0:
                break
            count += 1
        return count

    async def _flush_one(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._flush([item for item, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
