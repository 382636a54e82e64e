"""A person's filter as SQL: where the candidates come from (an index each), and what is left to be looked at.

Pure: it makes texts and parameters and runs nothing. Every source is bound to its index by name, so that no planner
can turn a page into a scan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from flux.domain.errors import Invalid
from flux.domain.job import FINAL, JobState
from flux.engine.ports import JobFilter

_LAST_TICK: Final = (1 << 60) - 1
_FAILED: Final = frozenset({JobState.DEAD, JobState.CANCELLED, JobState.SKIPPED})
_LONGEST_PATH: Final = 500


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

    ``where`` is answered by the index alone, ``checks`` need the row.
    """

    index: str
    where: str
    checks: tuple[Check, ...]
    otherwise: Walk


class Lanes(msgspec.Struct, frozen=True):
    """Available jobs, whose index goes by queue and priority: the newest of each lane, merged."""

    queue: str | None
    otherwise: Walk


Source = Walk | Pool | Lanes

LIVE_KEY: Final = "sqlite_autoindex_live_1"
DONE_KEY: Final = "sqlite_autoindex_done_1"


class Listing(msgspec.Struct, frozen=True):
    """What to look at for a page, the parameters of it all, and the bounds of the ids (``low <= id < high``)."""

    sources: tuple[Source, ...]
    parameters: dict[str, Any]
    low: str
    high: str
    key: str | None


def plan_listing(filter: JobFilter) -> Listing:
    """Choose the sources. Raises ``Invalid`` for a payload path that cannot be asked for."""
    parameters: dict[str, Any] = {
        "queue": filter.queue,
        "type": filter.type,
        "worker_id": filter.worker_id,
        "workflow_id": filter.workflow_id,
        "schedule_id": filter.schedule_id,
    }
    shared = _shared_checks(filter, parameters)
    low = id_floor(filter.created_after) if filter.created_after is not None else ""
    high = id_floor(filter.created_before) if filter.created_before is not None else "g"  # after every id
    by_key = filter.key is not None
    sources = _by_id(filter, shared) if by_key else (*_live(filter, shared), *_done(filter, shared))
    return Listing(sources, parameters, low, high, filter.key)


def id_floor(us: int) -> str:
    """The text that sorts before every id made at or after an instant (µs), and after every earlier one.

    Ids begin with the instant at which they were made (``domain.ids``), so a range of time is a range of the key.
    """
    milliseconds, rest = divmod(max(us, 0), 1000)
    tick = min(milliseconds << 12 | (rest << 12) // 1000, _LAST_TICK)
    text = f"{tick >> 12:012x}"
    return f"{text[:8]}-{text[8:]}-7{tick & 0xFFF:03x}"


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
        where = "state = 'running' AND worker_id = :worker_id"
        rest = (*queue, *type, *_links(filter), *shared)
        return (Walk("live", "live_running", where, rest),)
    if filter.schedule_id is not None:
        rest = (*queue, *type, *state, *_equal("workflow_id", filter.workflow_id), *shared)
        return (Walk("live", "live_schedule", "schedule_id = :schedule_id", rest),)
    if filter.workflow_id is not None:
        return (
            Walk("live", "live_workflow", "workflow_id = :workflow_id", (*queue, *type, *state, *shared)),
        )
    if not wanted and filter.queue is None:
        return (Walk("live", LIVE_KEY, "1", (*type, *shared)),)
    wanted = wanted or frozenset(JobState) - FINAL
    found: list[Source] = []
    due = wanted & {JobState.SCHEDULED, JobState.RETRYING}
    rest = (*queue, *type, *shared)

    def newest(states: frozenset[JobState]) -> Walk:
        return Walk("live", LIVE_KEY, "1", (*rest, *_states(tuple(states))))

    if JobState.AVAILABLE in wanted:
        only = newest(frozenset({JobState.AVAILABLE}))
        found.append(only if type or shared else Lanes(filter.queue, only))
    if JobState.RUNNING in wanted:
        found.append(Pool("live_running", "state = 'running'", rest, newest(frozenset({JobState.RUNNING}))))
    if due:
        where = f"state IN ('scheduled', 'retrying') AND state IN ({_named(due)})"
        if queue:
            where += " AND queue = :queue"
        found.append(Pool("live_due", where, (*type, *shared), newest(due)))
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
        return (Walk("done", "done_schedule", "schedule_id = :schedule_id", rest),)
    if filter.workflow_id is not None:
        rest = (*queue, *type, *state, *worker, *shared)
        return (Walk("done", "done_workflow", "workflow_id = :workflow_id", rest),)
    # States other than success are the rarer property; success is the common one.
    by_state = states and (states <= _FAILED or not (queue or type))
    if by_state:
        rest = (*queue, *type, *worker, *shared)
        return tuple(Walk("done", "done_state", f"state = '{one}'", rest) for one in sorted(states))
    if type:
        return (Walk("done", "done_type", "type = :type", (*queue, *state, *worker, *shared)),)
    if queue:
        return (Walk("done", "done_queue", "queue = :queue", (*state, *worker, *shared)),)
    return (Walk("done", DONE_KEY, "1", (*worker, *shared)),)


def _by_id(filter: JobFilter, shared: tuple[Check, ...]) -> tuple[Source, ...]:
    """An idempotency key stands for at most one job, whose id is ``:key_id``."""
    rest = (
        *_equal("queue", filter.queue),
        *_equal("type", filter.type),
        *_equal("worker_id", filter.worker_id),
        *_links(filter),
        *_states(filter.states),
        *shared,
    )
    return (
        Walk("live", LIVE_KEY, "id = :key_id", rest),
        Walk("done", DONE_KEY, "id = :key_id", rest),
    )


# --- conditions ---------------------------------------------------------------------------------------------------


def _equal(column: str, value: str | None) -> tuple[Check, ...]:
    return () if value is None else (Check(column, f"c.{column} = :{column}"),)


def _links(filter: JobFilter) -> tuple[Check, ...]:
    return (*_equal("schedule_id", filter.schedule_id), *_equal("workflow_id", filter.workflow_id))


def _states(states: tuple[JobState, ...]) -> tuple[Check, ...]:
    if not states:
        return ()
    return (Check("state", f"c.state IN ({_named(states)})"),)


def _named(states: Iterable[JobState]) -> str:
    return ", ".join(sorted(f"'{JobState(state)}'" for state in states))


def _shared_checks(filter: JobFilter, parameters: dict[str, Any]) -> tuple[Check, ...]:
    """The conditions that no table has an index for."""
    checks = []
    if filter.tag is not None:
        parameters["tag"] = filter.tag
        checks.append(
            Check(
                "options",
                "c.options IS NOT NULL AND EXISTS "
                "(SELECT 1 FROM json_each(c.options, '$.tags') AS t WHERE t.value = :tag)",
            )
        )
    if filter.error is not None:
        parameters["error"] = filter.error.lower()
        parameters["error_kind"] = filter.error
        checks.append(
            Check(
                "error",
                "c.error IS NOT NULL AND (json_extract(c.error, '$.kind') = :error_kind"
                " OR instr(lower(json_extract(c.error, '$.message')), :error))",
            )
        )
    for number, (path, value) in enumerate(filter.payload):
        parameters[f"value{number}"] = value
        asked = []
        for form, text in enumerate(_json_paths(path)):
            name = f"path{number}_{form}"
            parameters[name] = text
            asked.append(f"c.payload -> :{name} = :value{number} OR c.payload ->> :{name} = :value{number}")
        checks.append(Check("payload", f"({' OR '.join(asked)})"))
    return tuple(checks)


def _json_paths(path: str) -> list[str]:
    """A dotted path as SQLite writes it; a step of digits may be the index of a list or a name."""
    steps = path.split(".")
    if not all(steps) or len(path) > _LONGEST_PATH or '"' in path or "\\" in path or "\0" in path:
        raise Invalid.one(
            f"payload.{path[:50]}", 'is not a path; write it like payload.user.name, without " and \\'
        )
    indexed = "$" + "".join(f"[{int(step)}]" if _is_index(step) else f'."{step}"' for step in steps)
    named = "$" + "".join(f'."{step}"' for step in steps)
    return [named] if named == indexed else [indexed, named]


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= 9
