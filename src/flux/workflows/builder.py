"""The builder: a workflow written in Python. What it makes is the same definition that JSON and YAML give."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from flux.domain.errors import FieldError, Invalid
from flux.domain.request import JobRequest, encode_value
from flux.domain.workflow.definition import Definition, dump_definition
from flux.domain.workflow.parse import parse_definition
from flux.domain.workflow.template import OPEN
from flux.workflows.values import BEGIN, END, Value, item_of, literal, source

_MARKED: Final = re.compile(rf"(\$*){BEGIN}([^{END}]*){END}")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch

_KEPT: Final = ("delay", "timeout", "max_retries", "backoff", "unique", "tags", "headers", "expires_in")
_UNKNOWN_TO_STEPS: Final = (
    "run_at",
    "idempotency_key",
    "idempotency_ttl",
    "expires_at",
    "cron",
    "timezone",
    "schedule",
)
_DEFAULTS: Final = JobRequest(type="x")


class Asked(Protocol):
    """What ``handler.request(...)`` gives."""

    job: JobRequest
    decoder: msgspec.json.Decoder[Any] | None


class Step:
    """A step of a workflow that is being written: what others refer to."""

    def __init__(self, name: str, output: Any = None) -> None:
        self.name = name
        self._path = f"steps.{name}" if _WORD(name) else f"steps[{literal(name)}]"
        self._output = output

    @property
    def output(self) -> Value:
        """What the step gives; null when it was skipped."""
        return Value(f"{self._path}.output", self._output)

    @property
    def state(self) -> Value:
        """How it ended: succeeded, failed, skipped, cancelled."""
        return Value(f"{self._path}.state", str)

    @property
    def error(self) -> Value:
        """Why it failed: kind and message."""
        return Value(f"{self._path}.error")

    def on(self, *conditions: str) -> _Need:
        """As a need, with how it may end: ``needs=[charge.on("ended")]``."""
        return _Need(self.name, conditions)

    def __repr__(self) -> str:
        return f"<Step {self.name}>"


class _Need:
    def __init__(self, step: str, conditions: tuple[str, ...]) -> None:
        self.plain = {"step": step, "on": conditions[0] if len(conditions) == 1 else list(conditions)}


Needs: TypeAlias = Sequence[Step | _Need | str]


class Workflow:
    """A workflow, step by step. ``definition`` is what comes of it, checked like any other.

    ``input``: the type of its input, so that a misspelt field is found here.
    """

    def __init__(
        self,
        name: str,
        *,
        input: Any = None,
        timeout: str | float | None = None,
        max_parallel: int | None = None,
        on_failure: str = "finish_independent",
        queue: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self._plain: dict[str, Any] = {"name": name, "on_failure": on_failure, "tags": list(tags)}
        for field, value in (
            ("timeout", timeout),
            ("max_parallel", max_parallel),
            ("queue", queue),
            ("priority", priority),
        ):
            if value is not None:
                self._plain[field] = value
        self._steps: dict[str, dict[str, Any]] = {}
        self.input = Value("input", input)

    # --- steps ---

    def step(
        self,
        name: str,
        job: Asked,
        *,
        needs: Needs = (),
        when: Value | None = None,
        continue_on_failure: bool = False,
        memo: Any = None,
        memo_ttl: str | float | None = None,
    ) -> Step:
        """A job: ``wf.step("charge", charge_card.request(order=wf.input.order_id))``.

        It runs once what it needs has succeeded: the steps in ``needs``, and those whose values it uses. ``memo``: a
        key with which an earlier success's output is taken in its place.
        """
        fields = self._job(name, job, {})
        if memo is not None:
            fields["memo"] = {"key": memo} if memo_ttl is None else {"key": memo, "ttl": memo_ttl}
        return self._add(name, fields, needs, when, continue_on_failure, _result(job))

    def for_each(
        self,
        name: str,
        over: Value | Sequence[Any],
        do: Callable[..., Asked],
        *,
        max_parallel: int | None = None,
        fail_fast: bool = False,
        item_when: Callable[..., Value] | None = None,
        needs: Needs = (),
        when: Value | None = None,
        continue_on_failure: bool = False,
    ) -> Step:
        """A job for each item of a list. ``do`` and ``item_when`` get the item, and its index if they take two."""
        item, index = Value("item", item_of(over)), Value("index", int)
        job = _with(do, item, index)
        fields = self._job(name, job, {"fail_fast": fail_fast})
        fields["for_each"] = over if isinstance(over, Value) else list(over)
        if max_parallel is not None:
            fields["max_parallel"] = max_parallel
        if item_when is not None:
            fields["item_when"] = _with(item_when, item, index)
        result = _result(job)
        output = None if result is None else list[result]  # type: ignore[valid-type]
        return self._add(name, fields, needs, when, continue_on_failure, output)

    def signal(
        self,
        name: str,
        signal: str | None = None,
        *,
        timeout: str | float | None = None,
        output: Any = None,
        needs: Needs = (),
        when: Value | None = None,
        continue_on_failure: bool = False,
    ) -> Step:
        """A step that waits for a signal, by default of its own name. ``output``: the type of what comes with it."""
        fields: dict[str, Any] = {"wait_for": "signal", "signal": signal or name}
        if timeout is not None:
            fields["timeout"] = timeout
        return self._add(name, fields, needs, when, continue_on_failure, output)

    def wait(
        self,
        name: str,
        *,
        delay: str | float | Value | None = None,
        until: str | Value | None = None,
        needs: Needs = (),
        when: Value | None = None,
        continue_on_failure: bool = False,
    ) -> Step:
        """A step that waits, for a while or until a moment. It holds no worker."""
        fields: dict[str, Any] = {"wait_for": "time"}
        if delay is not None:
            fields["delay"] = delay
        if until is not None:
            fields["until"] = until
        return self._add(name, fields, needs, when, continue_on_failure, None)

    def child(
        self,
        name: str,
        workflow: str,
        input: Any = None,
        *,
        timeout: str | float | None = None,
        output: Any = None,
        needs: Needs = (),
        when: Value | None = None,
        continue_on_failure: bool = False,
    ) -> Step:
        """A workflow of its own: a template by its name, or by name and version (``refund@2``)."""
        fields: dict[str, Any] = {"workflow": workflow, "input": input}
        if timeout is not None:
            fields["timeout"] = timeout
        return self._add(name, fields, needs, when, continue_on_failure, output)

    # --- the whole ---

    def returns(self, output: Any) -> None:
        """Its output, once all steps have ended: any value with values of steps in it."""
        self._plain["output"] = output

    def on_exit(self, job: Asked) -> None:
        """A job that runs when it has ended, however it ended."""
        self._plain["on_exit"] = self._job("on_exit", job, {})

    @property
    def id(self) -> Value:
        """The run's id."""
        return Value("workflow.id", str)

    @property
    def state(self) -> Value:
        """The run's state, for ``on_exit``."""
        return Value("workflow.state", str)

    @property
    def definition(self) -> Definition:
        """What was written so far. Raises ``Invalid`` with everything that is wrong."""
        plain = self._plain | {"steps": self._steps}
        return parse_definition(msgspec.json.decode(encode_value(_written(plain))))

    def to_dict(self) -> dict[str, Any]:
        """The definition as plain values, as ``POST /workflows`` takes it."""
        return dump_definition(self.definition)

    def _add(
        self,
        name: str,
        fields: dict[str, Any],
        needs: Needs,
        when: Value | None,
        continue_on_failure: bool,
        output: Any,
    ) -> Step:
        if name in self._steps:
            raise Invalid.one(f"steps.{name}", "there is a step of this name already")
        if needs:
            fields["needs"] = [_need(one) for one in needs]
        if when is not None:
            if not isinstance(when, Value):
                raise Invalid.one(
                    f"steps.{name}.when",
                    f"must be a value of the workflow, such as charge.output.ok, not {when!r}",
                )
            fields["when"] = when
        if continue_on_failure:
            fields["continue_on_failure"] = True
        self._steps[name] = fields
        return Step(name, output)

    def _job(self, name: str, asked: Asked, fields: dict[str, Any]) -> dict[str, Any]:
        job = asked.job
        at = name if name == "on_exit" else f"steps.{name}"
        errors = [
            FieldError(f"{at}.{field}", "is for jobs of their own, and no option of a step")
            for field in _UNKNOWN_TO_STEPS
            if getattr(job, field) is not None
        ]
        if errors:
            raise Invalid(errors)
        fields |= {"type": job.type, "payload": msgspec.json.decode(bytes(job.payload))}
        if job.queue != _DEFAULTS.queue:
            fields["queue"] = job.queue
        if job.priority != _DEFAULTS.priority:
            fields["priority"] = job.priority
        for field in _KEPT:
            value = getattr(job, field)
            if value != getattr(_DEFAULTS, field):
                fields[field] = msgspec.to_builtins(value)
        return fields


def _need(one: Step | _Need | str) -> Any:
    if isinstance(one, Step):
        return one.name
    return one.plain if isinstance(one, _Need) else one


def _with(call: Callable[..., Any], item: Value, index: Value) -> Any:
    count = len(inspect.signature(call).parameters)
    return call(item, index) if count > 1 else call(item)


def _result(job: Asked) -> Any:
    return None if job.decoder is None else job.decoder.type


def _written(value: Any) -> Any:
    """Values as expressions, and everything else so that no expression is seen in it."""
    if isinstance(value, Value):
        return f"{OPEN} {source(value)} }}}}"
    if isinstance(value, str):
        return _MARKED.sub(_filled, value.replace(OPEN, f"${OPEN}"))
    if isinstance(value, Mapping):
        return {key: _written(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(one) for one in value]
    return value


def _filled(found: re.Match[str]) -> str:
    dollars, expression = found[1], found[2].replace(f"${OPEN}", OPEN)
    # One right before it would make it a text.
    before = f"{OPEN} {literal(dollars)} }}}}" if dollars else ""
    return f"{before}{OPEN} {expression} }}}}"
