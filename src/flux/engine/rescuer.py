"""Rescue: jobs whose worker is gone run again elsewhere."""

from __future__ import annotations

import logging

from flux.domain.job import AttemptOutcome
from flux.domain.words import agree, plural
from flux.engine.counts import Counts
from flux.engine.loops import forever
from flux.engine.ports import Rescued, Store

logger = logging.getLogger("flux.rescuer")

CHUNK = 1000

SHOWN = 5
"""Jobs that a log line names."""


class Rescuer:
    """Takes back running jobs without a live worker, and those far past their deadline."""

    def __init__(self, store: Store, counts: Counts, interval: int, grace: int) -> None:
        self._counts = counts
        self._store = store
        self._longest = min(1.0, interval / 1_000_000)
        self._grace = grace

    async def run(self, epoch: int) -> None:
        """Rescue until cancelled. Raises ``NotLeader``."""

        async def work() -> float:
            rescued = await self._store.duties.rescue_lost(epoch, self._grace, CHUNK)
            self._counts.rescues += len(rescued)
            for (worker_id, why), jobs in _grouped(rescued).items():
                logger.warning(
                    "%s of worker %s %s; taken back: %s",
                    plural(len(jobs), "running job"),
                    worker_id,
                    f"had lost {agree(len(jobs), 'its', 'their')} worker: its lease is over"
                    if why is AttemptOutcome.LOST
                    else "went far past the deadline and did not end",
                    _named(jobs),
                )
            return 0.0 if len(rescued) >= CHUNK else self._longest

        await forever(logger, "rescue", work)


def _grouped(rescued: list[Rescued]) -> dict[tuple[str | None, AttemptOutcome], list[Rescued]]:
    groups: dict[tuple[str | None, AttemptOutcome], list[Rescued]] = {}
    for one in rescued:
        groups.setdefault((one.worker_id, one.why), []).append(one)
    return groups


def _named(jobs: list[Rescued]) -> str:
    shown = ", ".join(f"{one.job_id} ({one.type}, {one.state})" for one in jobs[:SHOWN])
    return shown if len(jobs) <= SHOWN else f"{shown} and {len(jobs) - SHOWN} more"
