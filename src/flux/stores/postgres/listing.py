"""A person's filter as SQL: where the candidates come from (an index each), and what is left to be looked at.

Pure: it makes texts and values and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from flux.domain.errors import Invalid
from flux.domain.job import FINAL, JobState
from flux.engine.ports import JobFilter
from flux.stores.pages import id_floor

_FAILED: Final = frozenset({JobState.DEAD, JobState.CANCELLED, JobState.SKIPPED})
_LONGEST_PATH: Final = 500

FIRST: Final = "00000000-0000-0000-0000-000000000000"
LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Walk(msgspec.Struct, frozen=True):
    """Candidates in the order of an index that ends in the id: newest first, as far back as one likes."""

    table: str
    where: str = "true"
    checks: tuple[str, ...] = ()
    """Conditions on a candidate (named ``c``) that its index does not answer."""


class Pool(msgspec.Struct, frozen=True):
    """Candidates from an index in another order: all of them when they are few, else the newest of ``otherwise``."""

    where: str
    checks: tuple[str, ...]
    otherwise: Walk


class Lanes(msgspec.Struct, frozen=True):
    """Available jobs, whose index goes by queue and priority: the newest of each lane, merged."""

    otherwise: Walk


Source = Walk | Pool | Lanes


class Listing(msgspec.Struct, frozen=True):
    """What to look at for a page, the values of it all, and the bounds of the ids (``low <= id < high``)."""

    sources: tuple[Source, ...]
    values: dict[str, Any]
    low: str
    high: str
    key: str | None


def plan_listing(filter: JobFilter) -> Listing:
    """Choose the sources. Raises ``Invalid`` for a payload path that cannot be asked for."""
    values: dict[str, Any] = {
        "queue": filter.queue,
        "type": filter.type,
        "worker_id": filter.worker_id,
        "workflow_id": filter.workflow_id,
        "schedule_id": filter.schedule_id,
    }
    shared = _shared_checks(filter, values)
    low = FIRST if filter.created_after is None else id_floor(filter.created_after)
    high = LAST if filter.created_before is None else id_floor(filter.created_before)
    by_key = filter.key is not None
    sources = _by_id(filter, shared) if by_key else (*_live(filter, shared), *_done(filter, shared))
    return Listing(sources, values, low, high, filter.key)


# --- sources ------------------------------------------------------------------------------------------------------


def _live(filter: JobFilter, shared: tuple[str, ...]) -> tuple[Source, ...]:
    wanted = frozenset(filter.states) - FINAL
    if filter.states and not wanted:
        return ()
    queue, type, state = _equal("queue", filter.queue), _equal("type", filter.type), _states(filter.states)
    if filter.worker_id is not None:
        # Only a running job is on a worker; its index also holds nothing else.
        if wanted and JobState.RUNNING not in wanted:
            return ()
        where = "state = 'running' AND worker_id = @worker_id"
        return (Walk("live", where, (*queue, *type, *_links(filter), *shared)),)
    if filter.schedule_id is not None:
        rest = (*queue, *type, *state, *_equal("workflow_id", filter.workflow_id), *shared)
        return (Walk("live", "schedule_id = @schedule_id", rest),)
    if filter.workflow_id is not None:
        return (Walk("live", "workflow_id = @workflow_id", (*queue, *type, *state, *shared)),)
    if not wanted and filter.queue is None:
        return (Walk("live", checks=(*type, *shared)),)
    wanted = wanted or frozenset(JobState) - FINAL
    found: list[Source] = []
    due = wanted & {JobState.SCHEDULED, JobState.RETRYING}
    rest = (*queue, *type, *shared)

    def newest(states: frozenset[JobState]) -> Walk:
        return Walk("live", checks=(*rest, *_states(tuple(states))))

    if JobState.AVAILABLE in wanted:
        only = newest(frozenset({JobState.AVAILABLE}))
        found.append(only if type or shared else Lanes(only))
    if JobState.RUNNING in wanted:
        found.append(Pool("state = 'running'", rest, newest(frozenset({JobState.RUNNING}))))
    if due:
        where = f"state IN ('scheduled', 'retrying') AND state IN ({_named(due)})"
        found.append(Pool(where, rest, newest(due)))
    if wanted == {JobState.BLOCKED}:
        found.append(newest(wanted))
    return tuple(found)


def _done(filter: JobFilter, shared: tuple[str, ...]) -> tuple[Source, ...]:
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
        return (Walk("done", "schedule_id = @schedule_id", rest),)
    if filter.workflow_id is not None:
        return (Walk("done", "workflow_id = @workflow_id", (*queue, *type, *state, *worker, *shared)),)
    # States other than success are the rarer property; success is the common one.
    if states and (states <= _FAILED or not (queue or type)):
        rest = (*queue, *type, *worker, *shared)
        return tuple(Walk("done", f"state = '{one}'", rest) for one in sorted(states))
    if type:
        return (Walk("done", "type = @type", (*queue, *state, *worker, *shared)),)
    if queue:
        return (Walk("done", "queue = @queue", (*state, *worker, *shared)),)
    return (Walk("done", checks=(*worker, *shared)),)


def _by_id(filter: JobFilter, shared: tuple[str, ...]) -> tuple[Source, ...]:
    """An idempotency key stands for at most one job, whose id is ``@key_id``."""
    rest = (
        *_equal("queue", filter.queue),
        *_equal("type", filter.type),
        *_equal("worker_id", filter.worker_id),
        *_links(filter),
        *_states(filter.states),
        *shared,
    )
    return tuple(Walk(table, "id = @key_id", rest) for table in ("live", "done"))


# --- conditions ---------------------------------------------------------------------------------------------------


def _equal(column: str, value: str | None) -> tuple[str, ...]:
    return () if value is None else (f"c.{column} = @{column}",)


def _links(filter: JobFilter) -> tuple[str, ...]:
    return (*_equal("schedule_id", filter.schedule_id), *_equal("workflow_id", filter.workflow_id))


def _states(states: tuple[JobState, ...]) -> tuple[str, ...]:
    return (f"c.state IN ({_named(states)})",) if states else ()


def _named(states: Iterable[JobState]) -> str:
    return ", ".join(sorted(f"'{JobState(state)}'" for state in states))


def _shared_checks(filter: JobFilter, values: dict[str, Any]) -> tuple[str, ...]:
    """The conditions that no table has an index for."""
    checks = []
    if filter.tag is not None:
        values["tag"] = filter.tag
        checks.append("c.options IS NOT NULL AND flux.has_tag(c.options, @tag)")
    if filter.error is not None:
        values["error"] = filter.error
        checks.append("c.error IS NOT NULL AND flux.error_has(c.error, @error)")
    for number, (path, value) in enumerate(filter.payload):
        values[f"path{number}"] = _path(path)
        values[f"value{number}"] = value
        checks.append(f"flux.json_has(c.payload, @path{number}::text[], @value{number})")
    return tuple(checks)


def _path(path: str) -> list[str]:
    """A dotted path; a step of digits is the index of a list or a name, as the document has it."""
    steps = path.split(".")
    if not all(steps) or len(path) > _LONGEST_PATH or '"' in path or "\\" in path or "\0" in path:
        raise Invalid.one(
            f"payload.{path[:50]}", 'is not a path; write it like payload.user.name, without " and \\'
        )
    return steps
