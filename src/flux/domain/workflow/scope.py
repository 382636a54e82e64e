"""What an expression can see: the run's input, the steps upstream, the workflow, and the item of a fan-out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import UNSET, Struct

from flux.domain.workflow.meter import HAS_FIELDS
from flux.domain.workflow.references import Path


class StepView(Struct, frozen=True):
    """A step as expressions see it. ``output`` and ``error`` are null where there is none."""

    state: str
    output: Any = None
    error: Any = None


class WorkflowView(Struct, frozen=True):
    """The run itself as expressions see it."""

    id: str = ""
    name: str = ""
    state: str = "running"


class Scope(Struct, frozen=True, kw_only=True):
    """The values behind the names of an expression, as JSON's values in Python.

    ``steps`` may hold more than is used.
    """

    input: Any = None
    steps: Mapping[str, StepView] = {}
    workflow: WorkflowView = WorkflowView()
    item: Any = UNSET
    index: Any = UNSET

    def root(self, name: str) -> Any:
        """What a first name stands for; raises KeyError where it stands for nothing."""
        value = getattr(self, name)
        if value is UNSET:
            raise KeyError(name)
        return value


MISSING: Final = object()
"""There is no such value."""


def _field(value: Any, name: str) -> Any:
    if isinstance(value, StepView | WorkflowView):
        return getattr(value, name, MISSING)
    if isinstance(value, Mapping):
        return value.get(name, MISSING)
    return MISSING


class Missing(LookupError):
    """A path that cannot be followed: ``name`` is where it ends, ``keyed`` whether fields could have been there."""

    def __init__(self, message: str, name: str, *, keyed: bool) -> None:
        self.name = name
        self.keyed = keyed
        super().__init__(message)


def look_up(scope: Scope, path: Path) -> Any:
    """The value at a path. Raises ``Missing`` with a sentence that names the first field that is not there."""
    try:
        value = scope.root(path[0])
    except KeyError:
        raise Missing(f"there is no {path[0]} outside of a for_each", path[0], keyed=True) from None
    for i, name in enumerate(path[1:], 1):
        inner = _field(value, name)
        if inner is MISSING:
            raise _missing(value, name, ".".join(path[:i]))
        value = inner
    return value


def _missing(value: Any, name: str, path: str) -> Missing:
    if value is None:
        return Missing(f"{path} is null and has no {name}; ask {path} != null first", name, keyed=False)
    if isinstance(value, Mapping):
        if path == "steps":
            return Missing(f"there is no step {name} here", name, keyed=True)
        return Missing(f"{path} has no {name}; ask has({path}.{name}) first", name, keyed=True)
    return Missing(f"{path} is {kind_of(value)} and has no {name}", name, keyed=False)


def kind_of(value: Any) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
    return "an object"


def project(scope: Scope, paths: Iterable[Path]) -> dict[str, Any]:
    """The part of the scope that these paths reach, as plain dicts: what is not used is not handed over.

    What a path does not find is left out, so that the expression fails on it, or asks for it, by itself.
    """
    out: dict[str, Any] = {}
    # Shorter ones first: what one hands over whole holds all the longer ones.
    whole: set[Path] = set()
    for path in sorted(paths, key=len):
        if any(path[:length] in whole for length in range(1, len(path))):
            continue
        _copy(scope, path, out, whole)
    return out


def _copy(scope: Scope, path: Path, out: dict[str, Any], whole: set[Path]) -> None:
    try:
        value = scope.root(path[0])
    except KeyError:
        return
    at = out
    for i, name in enumerate(path):
        if i:
            inner = _field(value, name)
            if inner is MISSING:
                return
            if isinstance(value, StepView):
                _mark(value, at)
            value = inner
        last = i == len(path) - 1
        if last or not isinstance(value, Mapping | StepView | WorkflowView):
            at[name] = value
            whole.add(path[: i + 1])
            return
        at = at.setdefault(name, {})


def _mark(step: StepView, at: dict[str, Any]) -> None:
    """The fields that ``has(steps.x.output)`` and ``has(steps.x.error)`` look for."""
    if step.state == "succeeded":
        at[HAS_FIELDS["output"]] = True
    if step.error is not None:
        at[HAS_FIELDS["error"]] = True
