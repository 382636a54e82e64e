"""A checked definition as a store keeps it: numbered steps, the jobs they are made of, and the edges between them."""

from __future__ import annotations

import msgspec

from flux.domain.duration import parse_duration
from flux.domain.errors import FieldError, Invalid
from flux.domain.job import NO_OPTIONS, NewJob, Options
from flux.domain.request import DEFAULT_BOUNDS, Bounds, JobRequest, encode_value, validate
from flux.domain.workflow.definition import Definition, JobStep, OnFailure, digest, dump_definition
from flux.domain.workflow.graph import Graph
from flux.domain.workflow.plan import Plan, plan
from flux.engine.ports import StoredDefinition, StoredEdge, StoredStep

_QUEUE = JobRequest(type="x").queue
_PRIORITY = JobRequest(type="x").priority


def stored(definition: Definition, graph: Graph, bounds: Bounds = DEFAULT_BOUNDS) -> StoredDefinition:
    """The definition for the store. Raises ``Invalid`` for a payload past the bounds."""
    planned = plan(definition, graph)
    # Without its input: runs of the same graph share it.
    definition = msgspec.structs.replace(definition, input=None)
    id = digest(definition)
    steps = [_step(definition, id, planned, number, bounds) for number in range(len(planned.steps))]
    edges = tuple(
        StoredEdge(step.number, edge.step, edge.mask) for step in planned.steps for edge in step.dependents
    )
    document = msgspec.json.encode(dump_definition(definition))
    return StoredDefinition(id=id, document=document, steps=tuple(steps), edges=edges)


_NOT_YET = ("on_exit", "timeout", "max_parallel", "on_failure")


def check_runnable(definition: Definition) -> None:
    """Raise ``Invalid`` for what a definition may say and no engine does so far."""
    errors = [
        FieldError(field, "cannot be run yet")
        for field in _NOT_YET
        if getattr(definition, field) not in (None, OnFailure.FINISH_INDEPENDENT)
    ]
    for name, step in definition.steps.items():
        if not isinstance(step, JobStep):
            errors.append(FieldError(f"steps.{name}", f"a step of kind {step.kind} cannot be run yet"))
            continue
        for field in ("for_each", "delay", "unique", "memo", "expires_in"):
            if getattr(step, field) is not None:
                errors.append(FieldError(f"steps.{name}.{field}", "cannot be run yet"))
    if errors:
        raise Invalid(errors[:100])


def timeout_of(definition: Definition) -> int | None:
    """How long a run may take (µs)."""
    return None if definition.timeout is None else parse_duration(definition.timeout)


def _step(definition: Definition, id: str, planned: Plan, number: int, bounds: Bounds) -> StoredStep:
    about = planned.steps[number]
    step = definition.steps[about.name]
    assert isinstance(step, JobStep)  # check_runnable has seen to it
    dynamic = about.has_when or about.has_expressions
    job = _job(definition, step, bounds, f"steps.{about.name}.")
    options = msgspec.structs.replace(job.options, step=about.name, definition=id if dynamic else None)
    return StoredStep(
        name=about.name,
        kind=about.kind,
        tolerated=about.continue_on_failure,
        type=job.type,
        queue=job.queue,
        priority=job.priority,
        max_retries=job.max_retries,
        timeout=job.timeout,
        payload=job.payload,
        options=None if options == NO_OPTIONS else msgspec.json.encode(options),
    )


def _job(definition: Definition, step: JobStep, bounds: Bounds, at: str) -> NewJob:
    """A step's job as a job of its own would be."""
    request = JobRequest(
        type=step.type,
        payload=msgspec.Raw(encode_value(step.payload)),
        queue=step.queue or definition.queue or _QUEUE,
        priority=step.priority or definition.priority or _PRIORITY,
        timeout=step.timeout,
        max_retries=step.max_retries,
        backoff=step.backoff,
        tags=(*definition.tags, *(tag for tag in step.tags if tag not in definition.tags)),
        headers=step.headers,
    )
    return validate(request, "", bounds, at)


def read_options(job_options: str | None) -> Options:
    """What only some jobs carry, of a claimed one."""
    return NO_OPTIONS if job_options is None else msgspec.json.decode(job_options, type=Options)
