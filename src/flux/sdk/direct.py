"""A handler called as a plain function: the context it gets then."""

from __future__ import annotations

import logging
import time

from flux.domain.job import ClaimedJob, LogLine
from flux.engine.context import Context, Desk

logger = logging.getLogger("flux.direct")


class LoggingDesk:
    """Remarks of a handler without a job: log lines go to Python's logging, the rest nowhere."""

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        """See ``Desk``."""
        if log is not None:
            logger.log(
                logging.getLevelNamesMapping().get(log.level, logging.INFO), "%s: %s", job.type, log.text
            )

    def heartbeat(self, job: ClaimedJob) -> None:
        """See ``Desk``."""

    async def flush(self) -> None:
        """See ``Desk``."""

    def now(self) -> int:
        """See ``Desk``."""
        return time.time_ns() // 1000


def stand_in_job(type: str, payload: bytes = b"{}", job_id: str = "direct", attempt: int = 1) -> ClaimedJob:
    """A claimed job that no store knows."""
    now = time.time_ns() // 1000
    return ClaimedJob(
        id=job_id,
        claim_id=0,
        type=type,
        queue="default",
        priority=5,
        payload=payload.decode(),
        attempt=attempt,
        attempt_limit=attempt,
        timeout=None,
        options=None,
        created_at=now,
        run_at=now,
        started_at=now,
        schedule_id=None,
        workflow_id=None,
    )


def direct_context(type: str) -> Context:
    """The context of a direct call: attempt 1 of 1, no payload, log lines to the logger ``flux.direct``."""
    desk: Desk = LoggingDesk()
    return Context(stand_in_job(type), desk)


__all__ = ["LoggingDesk", "direct_context", "stand_in_job"]
