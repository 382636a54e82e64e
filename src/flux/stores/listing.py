"""A person's filter as SQL: where the candidates come from (an index each), and what is left to be looked at.

Pure: it makes texts and values and runs nothing. Every source names the index that it is meant for. What is asked of
documents (tags, errors, payloads) each store says in its own SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from flux.domain.job import FINAL, JobState
from flux.engine.ports import JobFilter
from flux.stores.pages import FIRST, LAST, id_floor

_FAILED: Final = frozenset({JobState.DEAD, JobState.CANCELLED, JobState.SKIPPED})


class Check(msgspec.Struct, frozen=True):
    """A condition that no index of the source answers, and the column that it reads (of a row named ``c``)."""

    column: str
    sql: str


class Walk(msgspec.Struct, frozen=True):
    """Candidates from an index that ends in the id: newest first, as far back as one likes."""

    table: str
    index: str
    where: str
    checks: tuple[Check, ...] = ()


class Pool(msgspec.Struct, frozen=True):
    """Candidates from an index in another order: all of them when they are few, else the newest of ``otherwise``.

    ``where`` is answered by the index alone; ``covered`` by its columns, where it is made so; ``checks`` need the row.
    """

    index: str
    where: str
    covered: tuple[Check, ...]
    checks: tuple[Check, ...]
    otherwise: Walk


class Lanes(msgspec.Struct, frozen=True):
    """Candidates from an index that goes by lanes and within each by id: the newest of every lane, merged.

    A lane is a value for each of ``columns``. ``only``: the values that a column may have, where not all are asked for.
    ``otherwise``: when there are too many lanes.
    """

    table: str
    index: str
    where: str
    columns: tuple[str, ...]
    only: dict[str, tuple[str, ...]]
    checks: tuple[Check, ...]
    otherwise: Walk


Source = Walk | Pool | Lanes

KEY: Final = "key"
"""The index of the table's key."""


class Listing(msgspec.Struct, frozen=True):
    """What to look at for a page, the values of it all, and the bounds of the ids (``low <= id < high``)."""

    sources: tuple[Source, ...]
    values: dict[str, Any]
    low: str
    high: str
    key: str | None


InDocuments = Callable[[JobFilter, dict[str, Any]], tuple[Check, ...]]
"""A store's conditions for tag, error and payload; it adds their values. Raises ``Invalid`` for a path that is none."""


def plan_listing(filter: JobFilter, in_documents: InDocuments) -> Listing:
    """Choose the sources. Raises ``Invalid`` for a payload path that cannot be asked for."""
    values: dict[str, Any] = {
        "queue": filter.queue,
        "type": filter.type,
        "worker_id": filter.worker_id,
        "workflow_id": filter.workflow_id,
        "schedule_id": filter.schedule_id,
    }
    shared = in_documents(filter, values)
    low = FIRST if filter.created_after is None else id_floor(filter.created_after)
    high = LAST if filter.created_before is None else id_floor(filter.created_before)
    by_key = filter.key is not None
    sources = _by_id(filter, shared) if by_key else (*_live(filter, shared), *_done(filter, shared))
    return Listing(sources, values, low, high, filter.key)


# --- sources ------------------------------------------------------------------------------------------------------


def _live(filter: JobFilter, shared: tuple[Check, ...]) -> tuple[Source, ...]:
    wanted = frozenset(filter.states) - FINAL
    if filter.states and not wanted:
        return ()
    queue, type, state = _equal("queue", filter.queue), _equal("type", filter.type), _states(filter.states)
    if filter.worker_id is not None:
        # Only a running job is on a worker; its index also holds nothing else.
        if wanted and JobState.RUNNING not in wanted:
            return ()
        where = "state = 'running' AND worker_id = @worker_id"
        rest = (*queue, *type, *_links(filter), *shared)
        return (Walk("live", "live_running", where, rest),)
    if filter.schedule_id is not None:
        rest = (*queue, *type, *state, *_equal("workflow_id", filter.workflow_id), *shared)
        return (Walk("live", "live_schedule", "schedule_id = @schedule_id", rest),)
    if filter.workflow_id is not None:
        return (
            Walk("live", "live_workflow", "workflow_id = @workflow_id", (*queue, *type, *state, *shared)),
        )
    if not wanted and filter.queue is None:
        return (Walk("live", KEY, "true", (*type, *shared)),)
    wanted = wanted or frozenset(JobState) - FINAL
    found: list[Source] = []
    due = wanted & {JobState.SCHEDULED, JobState.RETRYING}
    rest = (*queue, *type, *shared)

    def newest(states: frozenset[JobState]) -> Walk:
        return Walk("live", KEY, "true", (*rest, *_states(tuple(states))))

    if JobState.AVAILABLE in wanted:
        found.append(
            Lanes(
                "live",
                "live_available",
                "state = 'available'",
                ("queue", "priority", "type"),
                _only(queue=filter.queue, type=filter.type),
                shared,
                newest(frozenset({JobState.AVAILABLE})),
            )
        )
    if JobState.RUNNING in wanted:
        found.append(
            Pool("live_running", "state = 'running'", (), rest, newest(frozenset({JobState.RUNNING})))
        )
    if due:
        where = f"state IN ('scheduled', 'retrying') AND state IN ({_named(due)})"
        found.append(Pool("live_due", where, queue, (*type, *shared), newest(due)))
    if wanted == {JobState.BLOCKED}:
        found.append(newest(wanted))
    return tuple(found)


def _done(filter: JobFilter, shared: tuple[Check, ...]) -> tuple[Source, ...]:
    states = frozenset(filter.states) & FINAL
    if filter.states and not states:
        return ()
    if filter.error is not None:
        # What succeeded has no error, so nine of ten rows need no look.
        states = (states or FINAL) & _FAILED
        if not states:
            return ()
    queue, type = _equal("queue", filter.queue), _equal("type", filter.type)
    state, worker = _states(tuple(sorted(states))), _equal("worker_id", filter.worker_id)
    if filter.schedule_id is not None:
        rest = (*queue, *type, *state, *worker, *_equal("workflow_id", filter.workflow_id), *shared)
        return (Walk("done", "done_schedule", "schedule_id = @schedule_id", rest),)
    if filter.workflow_id is not None:
        rest = (*queue, *type, *state, *worker, *shared)
        return (Walk("done", "done_workflow", "workflow_id = @workflow_id", rest),)
    rest = (*worker, *shared)
    if not (states or queue or type):
        return (Walk("done", KEY, "true", rest),)
    only = _only(queue=filter.queue, type=filter.type)
    if states:
        only["state"] = tuple(sorted(states))
    otherwise = Walk("done", KEY, "true", (*queue, *type, *state, *rest))
    return (Lanes("done", "done_lanes", "true", ("state", "queue", "type"), only, rest, otherwise),)


def _by_id(filter: JobFilter, shared: tuple[Check, ...]) -> tuple[Source, ...]:
    """An idempotency key stands for at most one job, whose id is ``@key_id``."""
    rest = (
        *_equal("queue", filter.queue),
        *_equal("type", filter.type),
        *_equal("worker_id", filter.worker_id),
        *_links(filter),
        *_states(filter.states),
        *shared,
    )
    return (
        Walk("live", KEY, "id = @key_id", rest),
        Walk("done", KEY, "id = @key_id", rest),
    )


# --- conditions ---------------------------------------------------------------------------------------------------


def _equal(column: str, value: str | None) -> tuple[Check, ...]:
    return () if value is None else (Check(column, f"c.{column} = @{column}"),)


def _only(**wanted: str | None) -> dict[str, tuple[str, ...]]:
    return {column: (value,) for column, value in wanted.items() if value is not None}


def _links(filter: JobFilter) -> tuple[Check, ...]:
    return (*_equal("schedule_id", filter.schedule_id), *_equal("workflow_id", filter.workflow_id))


def _states(states: tuple[JobState, ...]) -> tuple[Check, ...]:
    if not states:
        return ()
    return (Check("state", f"c.state IN ({_named(states)})"),)


def _named(states: Iterable[JobState]) -> str:
    return ", ".join(sorted(f"'{JobState(state)}'" for state in states))
