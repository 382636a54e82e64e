"""A definition as somebody writes it, read into the model: every refusal at once, with its place and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from flux.domain.backoff import Backoff
from flux.domain.duration import format_duration, format_instant, parse_duration, parse_instant
from flux.domain.errors import FieldError, Invalid
from flux.domain.request import (
    NAME_RULE,
    JobRequest,
    encode_value,
    json_problem,
    type_name,
    validate,
    wrong_kind,
)
from flux.domain.workflow.definition import (
    LONGEST_NAME,
    MAX_DEFINITION,
    MAX_ITEMS,
    MAX_STEPS,
    STEP_NAME,
    ChildStep,
    Definition,
    ExitJob,
    JobStep,
    Need,
    SignalStep,
    Step,
    TimeStep,
)
from flux.domain.workflow.graph import Graph, find_graph
from flux.domain.workflow.refusals import Enough, Refusals
from flux.domain.workflow.release import Condition, OnFailure, conditions_of
from flux.domain.workflow.template import OPEN

S = TypeVar("S", bound=Struct)

_KINDS: Final[Mapping[str, type[Step]]] = {
    "type": JobStep,
    "workflow": ChildStep,
    "signal": SignalStep,
    "time": TimeStep,
}
_is_step_name: Final = re.compile(STEP_NAME).fullmatch
_is_child: Final = re.compile(r"([^@]*)(?:@[1-9][0-9]{0,8})?").fullmatch
_HELD: Final = ("type", "payload", "timeout", "max_retries", "backoff", "headers", "expires_in")
"""The fields of a job that ``JobRequest`` judges, as they are."""


def read_definition(raw: bytes, most: int = MAX_DEFINITION) -> Definition:
    """A definition from JSON. Raises ``Invalid``, and ``msgspec.DecodeError`` for what is no JSON."""
    if len(raw) > most:
        raise Invalid.one("definition", too_large(len(raw), most))
    try:
        return parse_definition(msgspec.json.decode(raw))
    except RecursionError:
        raise Invalid.one("definition", "is nested too deep") from None


def too_large(size: int, most: int) -> str:
    """That a definition has too many bytes, in words."""
    return f"has {size} bytes; the limit is {most} (FLUX_MAX_DEFINITION)"


def parse_definition(value: object) -> Definition:
    """A definition from plain values, as JSON or YAML give them. Raises ``Invalid`` with everything that is wrong.

    What is returned has been checked in full: names, options, expressions, and that its graph has an end.
    """
    return parse_with_graph(value)[0]


def parse_with_graph(value: object) -> tuple[Definition, Graph]:
    """A definition as ``parse_definition`` reads it, and its graph, which is found on the way."""
    refused = Refusals()
    try:
        found = _parse(value, refused)
    except Enough:
        found = None
    if found is None:
        raise Invalid(list(refused))
    return found


def _parse(value: object, refused: Refusals) -> tuple[Definition, Graph] | None:
    if not isinstance(value, dict):
        refused.add("definition", "must be an object with at least a name and steps")
        return None
    fields = dict(value)
    given_steps = fields.pop("steps", None)
    given_exit = fields.pop("on_exit", None)
    steps = _steps(given_steps, refused)
    definition = _struct(Definition, fields | {"steps": {}}, "", "a workflow", refused)
    on_exit = None
    if given_exit is not None:
        on_exit = _object(ExitJob, given_exit, "on_exit", "on_exit", refused)
    if on_exit is not None:
        _check_job(on_exit, "on_exit.", refused)
    if definition is None:
        definition = Definition(name="x", steps={})  # what is wrong with it is said; its steps may have more
    definition.steps = steps
    definition.on_exit = on_exit
    _check_whole(definition, refused)
    unread = frozenset(given_steps) - frozenset(steps) if isinstance(given_steps, dict) else frozenset()
    graph = find_graph(definition, unread)
    refused.add_all(graph.refusals)
    return None if refused else (definition, graph)


def _check_whole(definition: Definition, refused: Refusals) -> None:
    if not type_name(definition.name):
        refused.add("name", NAME_RULE.format("name", 200))
    held = JobRequest(type="x", tags=definition.tags)
    if definition.queue is not None:
        held.queue = definition.queue
    if definition.priority is not None:
        held.priority = definition.priority
    _judge(held, "", refused)
    definition.input = _plain(definition.input, "input", refused)
    definition.output = _plain(definition.output, "output", refused)
    definition.timeout = _duration(definition.timeout, "timeout", refused)
    _at_least_one(definition.max_parallel, "max_parallel", refused)


def _steps(given: object, refused: Refusals) -> dict[str, Step]:
    if given is None:
        refused.add("steps", "is required: an object with a step for each name")
        return {}
    if not isinstance(given, dict):
        refused.add(
            "steps", "must be an object with a step for each name, such as {charge: {type: charge_card}}"
        )
        return {}
    if not given:
        refused.add("steps", "must have at least one step")
    if len(given) > MAX_STEPS:
        refused.add("steps", f"has {len(given)} steps; a workflow has at most {MAX_STEPS}")
        return {}
    steps: dict[str, Step] = {}
    for name, fields in given.items():
        at = f"steps.{_key(name, LONGEST_NAME)}"
        if not isinstance(name, str) or len(name) > LONGEST_NAME or not _is_step_name(name):
            refused.add(
                at,
                "a step's name begins with a letter or _, goes on with letters, digits and _ . -, "
                f"at most {LONGEST_NAME} characters",
            )
            continue
        step = _step(fields, at, refused)
        if step is not None:
            steps[name] = step
    return steps


def _step(fields: object, at: str, refused: Refusals) -> Step | None:
    if not isinstance(fields, dict):
        refused.add(at, "must be an object with type, workflow or wait_for")
        return None
    kinds = [field for field in ("type", "workflow", "wait_for") if fields.get(field) is not None]
    if len(kinds) != 1:
        what = f"has {' and '.join(kinds)}" if kinds else "has none of type, workflow and wait_for"
        refused.add(
            at, f"{what}; give one: type for a job, workflow for another workflow, wait_for: signal or time"
        )
        return None
    kind: Any = kinds[0]
    if kind == "wait_for":
        kind = fields["wait_for"]
        if kind not in ("signal", "time"):
            refused.add(f"{at}.wait_for", "must be signal or time")
            return None
    step = _struct(_KINDS[kind], fields, f"{at}.", f"a step with {kinds[0]}", refused)
    if step is not None:
        _check_step(step, f"{at}.", refused)
    return step


def _check_step(step: Step, at: str, refused: Refusals) -> None:
    step.needs = _needs(step.needs, at, refused)
    match step:
        case JobStep():
            _check_job(step, at, refused)
            _check_fan_out(step, at, refused)
            if step.memo is not None:
                ttl = _duration(step.memo.ttl, at + "memo.ttl", refused)
                step.memo = msgspec.structs.replace(step.memo, ttl=ttl)
        case SignalStep():
            step.timeout = _duration(step.timeout, at + "timeout", refused)
            if not type_name(step.signal):
                refused.add(at + "signal", NAME_RULE.format("signal", 200))
        case TimeStep():
            _check_time(step, at, refused)
        case ChildStep():
            step.timeout = _duration(step.timeout, at + "timeout", refused)
            step.input = _plain(step.input, at + "input", refused)
            name = _is_child(step.workflow)
            if name is None or not type_name(name[1]):
                refused.add(
                    at + "workflow", "must be a workflow's name, with its version if you like: refund@2"
                )


def _check_time(step: TimeStep, at: str, refused: Refusals) -> None:
    if (step.delay is None) == (step.until is None):
        refused.add(at + "delay", "give one of delay and until")
    if not (isinstance(step.delay, str) and OPEN in step.delay):
        step.delay = _duration(step.delay, at + "delay", refused)
    if step.until is not None and OPEN not in step.until:
        try:
            step.until = format_instant(parse_instant(step.until))
        except ValueError as error:
            refused.add(at + "until", str(error))


def _check_fan_out(step: JobStep, at: str, refused: Refusals) -> None:
    if isinstance(step.for_each, tuple):
        if len(step.for_each) > MAX_ITEMS:
            refused.add(at + "for_each", f"has {len(step.for_each)} items; a fan-out has at most {MAX_ITEMS}")
        step.for_each = tuple(_plain(step.for_each, at + "for_each", refused) or ())
    _at_least_one(step.max_parallel, at + "max_parallel", refused)
    if step.for_each is None:
        for field in ("item_when", "max_parallel", "fail_fast"):
            if getattr(step, field):
                refused.add(at + field, "needs for_each")


def _needs(needs: tuple[str | Need, ...], at: str, refused: Refusals) -> tuple[str | Need, ...]:
    """The needs in their shortest form."""
    short: list[str | Need] = []
    for i, need in enumerate(needs):
        if isinstance(need, Need):
            conditions = conditions_of(need.mask)
            if not conditions:
                refused.add(
                    f"{at}needs[{i}].on", "names at least one of succeeded, failed, skipped, cancelled, ended"
                )
                continue
            need = (
                need.step
                if conditions == ("succeeded",)
                else Need(need.step, conditions[0] if len(conditions) == 1 else conditions)
            )
        short.append(need)
    return tuple(short)


def _check_job(job: JobStep | ExitJob, at: str, refused: Refusals) -> None:
    """A step's job keeps the rules of every other job; they stand in ``request.py``."""
    held = JobRequest(**{field: getattr(job, field) for field in _HELD} | {"payload": msgspec.Raw(b"{}")})
    held.tags = job.tags
    held.queue = "default" if job.queue is None else job.queue
    held.priority = 5 if job.priority is None else job.priority
    if isinstance(job, JobStep):
        held.delay, held.unique = job.delay, job.unique
    before = len(refused)
    _judge(held, at, refused)
    job.payload = _plain(job.payload, at + "payload", refused)
    if len(refused) > before:
        return
    job.timeout = _shortest(job.timeout)
    job.expires_in = _shortest(job.expires_in)
    if job.backoff is not None:
        job.backoff = Backoff.parse(job.backoff).to_json()
    if isinstance(job, JobStep):
        job.delay = _shortest(job.delay)
        if job.unique is not None:
            job.unique = msgspec.structs.replace(job.unique, period=_shortest(job.unique.period))


def _judge(held: JobRequest, at: str, refused: Refusals) -> None:
    if at and not (held.delay or held.tags or held.headers or held.backoff or held.unique):
        # Ten thousand steps mostly differ in their names alone.
        key = (held.type, held.queue, held.priority, held.max_retries, held.timeout, held.expires_in)
        refused.add_all(FieldError(at + error.field, error.message) for error in _judged(*key))
        return
    try:
        validate(held, "", at=at)
    except Invalid as invalid:
        refused.add_all(invalid.errors)


@lru_cache(256, typed=True)
def _judged(
    type: str, queue: str, priority: int, max_retries: int, timeout: Any, expires_in: Any
) -> tuple[FieldError, ...]:
    held = JobRequest(
        type=type,
        queue=queue,
        priority=priority,
        max_retries=max_retries,
        timeout=timeout,
        expires_in=expires_in,
    )
    try:
        validate(held, "")
    except Invalid as invalid:
        return tuple(invalid.errors)
    return ()


def _plain(value: Any, at: str, refused: Refusals) -> Any:
    """The value as JSON gives it back: what YAML knows besides (dates, keys that are numbers) becomes text."""
    if value is None or value == {}:
        return value
    try:
        raw = encode_value(value)
    except ValueError as error:
        refused.add(at, f"cannot be kept as JSON: {error}")
        return None
    if problem := json_problem(raw, MAX_DEFINITION):
        refused.add(at, problem)
        return None
    return msgspec.json.decode(raw)


def _duration(value: Any, at: str, refused: Refusals) -> str | None:
    if value is None:
        return None
    try:
        us = parse_duration(value)
    except ValueError as error:
        refused.add(at, str(error))
        return None
    if us < 1:
        refused.add(at, "must be positive")
    return format_duration(us)


def _shortest(value: Any) -> str | None:
    return None if value is None else format_duration(parse_duration(value))


def _at_least_one(value: int | None, at: str, refused: Refusals) -> None:
    if value is not None and value < 1:
        refused.add(at, "must be at least 1")


def _object(type: type[S], value: object, at: str, what: str, refused: Refusals) -> S | None:
    if not isinstance(value, dict):
        refused.add(at, "must be an object")
        return None
    return _struct(type, value, f"{at}.", what, refused)


def _key(name: object, most: int) -> str:
    """A key as a place names it."""
    return str(name)[:most] or '""'


@lru_cache(16)
def _fields(type: type[Struct]) -> Mapping[str, tuple[Any, bool, bool]]:
    """By name: the type (bounds have words of their own), whether it is required, whether null says something."""
    return {
        field.name: (_bare(field.type), field.required, _nullable(field.type))
        for field in msgspec.structs.fields(type)
    }


def _bare(annotation: Any) -> Any:
    return (
        getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
    )


def _nullable(annotation: Any) -> bool:
    bare = _bare(annotation)
    return bare is Any or type(None) in getattr(bare, "__args__", ())


def _struct(kind: type[S], given: Mapping[Any, Any], at: str, what: str, refused: Refusals) -> S | None:
    """An object field by field, so that all wrong ones are named at once."""
    known = _fields(kind)
    good: dict[str, Any] = {}
    before = len(refused)
    for name, value in given.items():
        if name not in known:
            close = get_close_matches(str(name)[:50], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
            refused.add(at + _key(name, 50), f"is not a field of {what}; {hint}")
            continue
        type_, required, nullable = known[name]
        if value is None and not nullable and not required:
            continue  # as if it were left out
        good[name] = _field(name, value, type_, at, refused)
    for name, (_, required, _) in known.items():
        if required and name not in good:
            refused.add(at + name, f"is required in {what}")
    return kind(**good) if len(refused) == before else None


def _field(name: str, value: Any, type_: Any, at: str, refused: Refusals) -> Any:
    if type_ is Any:
        return value
    if type_ is str and isinstance(value, str):
        return value
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        refused.add_all((_wrong(name, value, error, at),))
    except RecursionError:
        refused.add(at + name, "is nested too deep")
    return None


def _wrong(name: str, value: Any, error: msgspec.ValidationError, at: str) -> FieldError:
    try:
        found = wrong_kind(name, msgspec.json.encode(value), error, at)
        if found.message.startswith("invalid enum value"):
            words = OnFailure if name == "on_failure" else Condition
            return FieldError(found.field, f"must be one of {', '.join(words)}")
        return found
    except (TypeError, ValueError, RecursionError, msgspec.DecodeError):
        # Values that YAML has and JSON has not.
        return FieldError(at + name, str(error)[:200])
