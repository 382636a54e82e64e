"""What the end of a step releases, in the transaction that ends its job."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from flux.domain.job import JobState
from flux.domain.workflow.states import StepState
from flux.stores.releasing import FAILING, LIVE, EndedStep, ended_step, ended_steps
from flux.stores.sqlite.events import EventLog
from flux.stores.sqlite.sql import Statements, decoder, json_text, one_value
from flux.stores.standing import Ending

SQL = Statements("release.sql")

_released = decoder(list[tuple[str, int, str, str, str | None, str | None]])
_failures = decoder(list[tuple[str, int]])


def release(
    connection: sqlite3.Connection, namespace: str, now: int, endings: Sequence[Ending], events: EventLog
) -> None:
    """Let go what waits for these endings, and what waits for the steps that are skipped with them.

    The runs' own counters are written with the events.
    """
    ended = ended_steps(endings)
    _count(connection, namespace, ended, events)
    # Level by level. A cascade of more than 500 belongs to an internal job with a cursor of its own, once there are
    # such: until then the one who ends the step does it all.
    while ended:
        values = (namespace, json_text(ended))
        connection.execute(SQL["end_steps"], values)
        connection.execute(SQL["count_needs"], values)
        text: str = one_value(connection, SQL["released"], values)
        ended = []
        if text == "[]":
            return
        connection.execute(SQL["let_go"], (namespace, text))
        connection.execute(SQL["start_steps"], (namespace, text, now))
        for workflow_id, number, state, job_id, type, queue in _released(text):
            if state == LIVE:
                events.job(JobState.AVAILABLE, job_id, type or "", queue or "")
            elif state != StepState.WAITING:
                ended.append(ended_step(workflow_id, number, StepState(state)))
                events.tally.ended(workflow_id, 1)


def _count(
    connection: sqlite3.Connection, namespace: str, ended: Sequence[EndedStep], events: EventLog
) -> None:
    for step in ended:
        events.tally.ended(step.workflow_id, 1)
    failed = [step for step in ended if step.state in FAILING]
    if failed:
        text = one_value(connection, SQL["failures"], (namespace, json_text(failed)))
        for workflow_id, count in _failures(text):
            events.tally.ended(workflow_id, 0, count)
