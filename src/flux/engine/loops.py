"""What the leader's loops have in common: a pass that meets a store which is away is tried again, quietly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from flux.domain.errors import FluxError, NotLeader


class Patience:
    """Counts failures of one loop: says the first and then less and less often, and how long to wait."""

    def __init__(self, logger: logging.Logger, duty: str) -> None:
        self._logger = logger
        self._duty = duty
        self._failures = 0

    async def attempt(self, work: Callable[[], Coroutine[Any, Any, float]]) -> float:
        """Do one pass; the seconds to sleep after it. ``NotLeader`` passes through."""
        try:
            pause = await work()
        except NotLeader:
            raise
        except FluxError as error:
            self._failures += 1
            if self._failures & (self._failures - 1) == 0:
                often = f" {self._failures} times in a row" if self._failures > 1 else ""
                self._logger.warning("%s failed%s: %s", self._duty, often, error)
            return self._backoff()
        except Exception:
            # A defect in one duty must not end the others: said with its trace, and tried again.
            self._failures += 1
            self._logger.exception("%s failed by an error of its own", self._duty)
            return self._backoff()
        if self._failures:
            self._logger.info("%s works again", self._duty)
        self._failures = 0
        return pause

    def _backoff(self) -> float:
        return min(5.0, 0.1 * float(2 ** min(self._failures, 6)))


async def forever(logger: logging.Logger, duty: str, work: Callable[[], Coroutine[Any, Any, float]]) -> None:
    """Repeat a duty; it answers how many seconds to sleep."""
    patience = Patience(logger, duty)
    while True:  # noqa: ASYNC110 - a duty at intervals, not a poll for an event
        await asyncio.sleep(await patience.attempt(work))
