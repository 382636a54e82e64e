"""The leader's part in the ends of workflows: what the last step's end leaves to be evaluated."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from flux.engine.loops import Patience
from flux.engine.ports import Changes, Topic

logger = logging.getLogger("flux.workflows")

LONGEST = 1.0
"""Seconds between two looks when nothing is heard."""
CLOSEST = 0.01
"""The same at least while there are more."""
QUIET = 0.05
"""The same at least when there was none: jobs that are no steps end all the time."""


class Ends(Protocol):
    """Ends runs of workflows."""

    async def end_some(self) -> int:
        """End runs whose steps have all ended; how many there were. Raises ``Unavailable``."""
        ...


async def end_workflows(ends: Ends, changes: Changes) -> None:
    """Until cancelled."""
    patience = Patience(logger, "the ending of workflows")

    async def work() -> float:
        return CLOSEST if await ends.end_some() else LONGEST

    while True:
        seen = changes.version(Topic.ENDED)
        pause = await patience.attempt(work)
        if pause <= CLOSEST:
            await asyncio.sleep(pause)
        else:
            await asyncio.sleep(QUIET)
            await changes.wait(seen, pause, Topic.ENDED)
