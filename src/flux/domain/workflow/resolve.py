"""What the expressions of a step come to when its turn has come: run or not, over which items, until when.

Each raises ``ExpressionError`` when an expression fails, or gives something of another kind than is wanted: the step
has failed with ``error.kind`` "expression".
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from flux.domain.duration import parse_duration, parse_instant
from flux.domain.workflow.definition import MAX_ITEMS, TimeStep
from flux.domain.workflow.expression import ExpressionError
from flux.domain.workflow.scope import Scope, kind_of
from flux.domain.workflow.template import Template, fill, parse_template


def judge(condition: str | None, scope: Scope) -> bool:
    """Whether a ``when`` or ``item_when`` holds; without one it does. Anything but true and false is an error."""
    if condition is None:
        return True
    template = parse_template(condition)
    value = template.fill(scope)
    if not isinstance(value, bool):
        _refuse(template, f"must be true or false, and is {kind_of(value)}")
    return value


def items(for_each: str | tuple[Any, ...], scope: Scope) -> list[Any]:
    """The items of a fan-out, in order; none is fine."""
    if not isinstance(for_each, str):
        return list(fill(for_each, scope))
    template = parse_template(for_each)
    value = template.fill(scope)
    if not isinstance(value, list | tuple):
        _refuse(template, f"must be a list to run a job for each of its items, and is {kind_of(value)}")
    if len(value) > MAX_ITEMS:
        _refuse(template, f"has {len(value)} items; a fan-out has at most {MAX_ITEMS}")
    return list(value)


def delay_of(step: TimeStep, scope: Scope) -> int | None:
    """How long a step waits, in microseconds, 0 at least; None for one that waits until a moment."""
    if step.delay is None:
        return None
    template = parse_template(str(step.delay))
    value = template.fill(scope)
    try:
        return max(0, parse_duration(value))
    except ValueError as error:
        _refuse(template, str(error))


def until_of(step: TimeStep, scope: Scope) -> int | None:
    """Until when a step waits, in microseconds since the Unix epoch; None for one that waits for a while."""
    if step.until is None:
        return None
    template = parse_template(step.until)
    value = template.fill(scope)
    try:
        return parse_instant(value)
    except ValueError as error:
        _refuse(template, str(error))


def memo_key(key: str, scope: Scope) -> str:
    """The key under which a step's output is remembered: the text, or the JSON of anything else."""
    value = parse_template(key).fill(scope)
    return value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()


def _refuse(template: Template, message: str) -> NoReturn:
    first = template.expressions[0] if template.expressions else None
    if first is None:
        raise ExpressionError(message, "".join(map(str, template.parts)), 1, 1)
    raise ExpressionError(message, first.source, first.line, first.column)
