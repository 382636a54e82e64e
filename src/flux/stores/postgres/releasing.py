"""What the end of a step releases, in the transaction that ends its job."""

from __future__ import annotations

from collections.abc import Sequence

from flux.domain.job import JobState
from flux.domain.workflow.states import StepState
from flux.stores.postgres.events import EventLog
from flux.stores.postgres.session import Session
from flux.stores.postgres.sql import Statements
from flux.stores.releasing import FAILING, LIVE, EndedStep, ended_step

SQL = Statements("release.sql")


async def release(
    session: Session, namespace: str, now: int, ended: list[EndedStep], events: EventLog
) -> None:
    """Let go what waits for these ends, and what waits for the steps that are skipped with them.

    The ends come in their order. The runs' own counters are written with the events, last of all.
    """
    await _count(session, namespace, ended, events)
    # Level by level. A cascade of more than 500 belongs to an internal job with a cursor of its own, once there are
    # such: until then the one who ends the step does it all.
    while ended:
        rows = await session.fetch(
            SQL["release"],
            namespace=namespace,
            now=now,
            workflows=[step.workflow_id for step in ended],
            numbers=[step.number for step in ended],
            states=[step.state for step in ended],
            bits=[step.bit for step in ended],
        )
        ended = []
        for workflow_id, number, state, job_id, type, queue in rows:
            if state == LIVE:
                events.job(JobState.AVAILABLE, str(job_id), type, queue)
            else:
                ended.append(ended_step(workflow_id, number, StepState(state)))
                events.tally.ended(workflow_id, 1)
        ended.sort()


async def _count(session: Session, namespace: str, ended: Sequence[EndedStep], events: EventLog) -> None:
    for step in ended:
        events.tally.ended(step.workflow_id, 1)
    failed = [step for step in ended if step.state in FAILING]
    if failed:
        rows = await session.fetch(
            SQL["failures"],
            namespace=namespace,
            workflows=[step.workflow_id for step in failed],
            numbers=[step.number for step in failed],
        )
        for workflow_id, count in rows:
            events.tally.ended(workflow_id, 0, count)
