"""The graph of a definition: its edges, declared and implied by expressions, and whether it can end.

An expression may only name steps upstream of its own. Where the needs as written do not put a step upstream, an edge
is added: one that wants success when the step's output is used, and one that only waits when nothing but its state
or error is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Struct

from flux.domain.workflow.definition import (
    MAX_EDGES,
    MAX_EXPRESSIONS,
    MAX_NEEDS,
    ChildStep,
    Definition,
    JobStep,
    Need,
    Step,
    TimeStep,
)
from flux.domain.workflow.expression import Expression, ExpressionError
from flux.domain.workflow.refusals import Enough, Refusals
from flux.domain.workflow.release import ANY, Outcome
from flux.domain.workflow.template import Template, parse_template, templates_in

_ITEM_ROLES: Final = ("payload", "item_when", "memo")
_WHOLE_ROLES: Final = ("when", "item_when", "for_each")
_FEW_NAMES: Final = 200
"""Beyond so many steps nothing is guessed for a misspelt name: each guess looks at all of them."""


class Graph(Struct):
    """What follows from the steps together. Only without ``refusals`` is it a graph that ends."""

    order: tuple[str, ...] = ()
    """Every step after all of its needs; as written, where that leaves a choice."""
    needs: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    """By step: its needs, each with the mask of the outcomes that satisfy it."""
    reads: dict[str, dict[str, frozenset[str]]] = msgspec.field(default_factory=dict)
    """By step and role (``when``, ``payload``, ``for_each``, ...): the steps that its expressions name. A role without
    expressions is not there; one whose expressions name no step has an empty set."""
    output_reads: frozenset[str] = frozenset()
    exit_reads: frozenset[str] = frozenset()
    depth: int = 0
    """Steps on the longest path."""
    expressions: int = 0
    """Expressions in all of it."""
    refusals: Refusals = msgspec.field(default_factory=Refusals)

    @property
    def edges(self) -> int:
        """How many edges it has."""
        return sum(map(len, self.needs.values()))


class _Named(Struct):
    """A step that an expression names, and where."""

    place: str
    wants_output: bool
    expression: Expression


def find_graph(definition: Definition, unread: frozenset[str] = frozenset()) -> Graph:
    """The graph of a definition whose steps are well-formed one by one. Never raises: see ``refusals``.

    ``unread`` names steps that are there but could not be read: what leads to them is neither followed nor refused.
    """
    graph = Graph()
    with suppress(Enough):
        _find(definition, unread, graph)
    return graph


def _find(definition: Definition, unread: frozenset[str], graph: Graph) -> None:
    steps = definition.steps
    named: dict[str, dict[str, _Named]] = {}
    for name, step in steps.items():
        graph.needs[name] = _declared(name, step, steps, unread, graph.refusals)
        named[name] = _expressions(name, step, steps, unread, graph)
    graph.output_reads = _anywhere(definition.output, "output", steps, unread, graph)
    if definition.on_exit is not None:
        graph.exit_reads = _anywhere(definition.on_exit.payload, "on_exit.payload", steps, unread, graph)
    order, _ = _sorted(graph.needs)
    if len(order) < len(steps):
        _refuse_cycle(graph, order, {})
        return
    added = _add_implied(graph, named, order)
    order, graph.depth = _sorted(graph.needs)
    if len(order) < len(steps):
        _refuse_cycle(graph, order, added)
    graph.order = tuple(order)
    _check_limits(graph)


def _declared(
    name: str, step: Step, steps: dict[str, Step], unread: frozenset[str], refusals: Refusals
) -> dict[str, int]:
    needs: dict[str, int] = {}
    for i, need in enumerate(step.needs):
        other, mask = (need.step, need.mask) if isinstance(need, Need) else (need, Outcome.SUCCEEDED.bit)
        at = f"steps.{name}.needs[{i}]"
        if other == name:
            refusals.add(at, "a step cannot need itself")
        elif other in unread:
            continue
        elif other not in steps:
            refusals.add(at, _unknown(other, steps))
        elif other in needs:
            refusals.add(at, f"names {other} twice; give all its conditions at once: on: [...]")
        else:
            needs[other] = mask
    return needs


def _unknown(name: str, steps: dict[str, Step]) -> str:
    close = get_close_matches(name[:100], steps, n=1) if len(steps) <= _FEW_NAMES else []
    hint = f"did you mean {close[0]}?" if close else "each step is named by its key in steps"
    return f"there is no step {name[:100]!r}; {hint}"


def values_of(step: Step) -> Iterator[tuple[str, str, Any]]:
    """The parts of a step that may hold expressions, as (role, path in the step, value)."""
    if step.when is not None:
        yield "when", "when", step.when
    match step:
        case JobStep():
            yield "payload", "payload", step.payload
            if step.for_each is not None:
                yield "for_each", "for_each", step.for_each
            if step.item_when is not None:
                yield "item_when", "item_when", step.item_when
            if step.memo is not None:
                yield "memo", "memo.key", step.memo.key
        case TimeStep():
            yield "delay", "delay", step.delay
            yield "until", "until", step.until
        case ChildStep():
            yield "input", "input", step.input


def _expressions(
    name: str, step: Step, steps: dict[str, Step], unread: frozenset[str], graph: Graph
) -> dict[str, _Named]:
    """The steps that a step's expressions name. Also fills in ``reads``, and refuses what is wrong with each."""
    named: dict[str, _Named] = {}
    reads: dict[str, frozenset[str]] = {}
    fans_out = isinstance(step, JobStep) and step.for_each is not None
    for role, field, value in values_of(step):
        at = f"steps.{name}.{field}"
        whole = role in _WHOLE_ROLES and isinstance(value, str)
        if whole:
            _check_whole(at, value, graph.refusals)
        if value is None or value == {}:
            continue
        for place, text in templates_in(value, at):
            template = _template(place, text, graph.refusals)
            if template is None:
                continue
            _count(place, template, graph)
            for expression in template.expressions:
                items = expression.uses & {"item", "index"}
                if items and not (fans_out and role in _ITEM_ROLES):
                    what = "outside of a for_each" if not fans_out else f"in {field}, which is judged once"
                    graph.refusals.add(place, f"there is no {min(items)} {what}")
                reads[role] = reads.get(role, frozenset()) | expression.steps
                for other in expression.steps:
                    problem = None
                    if other == name:
                        problem = "names its own step"
                    elif other in unread:
                        continue
                    elif other not in steps:
                        problem = _unknown(other, steps)
                    if problem is not None:
                        graph.refusals.add(place, str(_worded(expression, problem)))
                        continue
                    wants = expression.wants_output(other)
                    if other in named:
                        named[other].wants_output |= wants
                    else:
                        named[other] = _Named(place, wants, expression)
    if reads:
        graph.reads[name] = reads
    return named


def _count(place: str, template: Template, graph: Graph) -> None:
    graph.expressions += len(template.expressions)
    if graph.expressions > MAX_EXPRESSIONS:
        words = f"is one of more than {MAX_EXPRESSIONS} expressions; a workflow has at most as many"
        graph.refusals.add(place, words)
        raise Enough


def _worded(expression: Expression, message: str) -> ExpressionError:
    return ExpressionError(message, expression.source, expression.line, expression.column)


def _check_whole(place: str, text: str, refusals: Refusals) -> None:
    try:
        whole = parse_template(text).whole
    except ExpressionError:
        return  # said where the expressions are looked at
    if whole is None:
        refusals.add(place, "must be one expression with nothing around it: ${{ ... }}")


def _template(place: str, text: str, refusals: Refusals) -> Template | None:
    try:
        return parse_template(text)
    except ExpressionError as error:
        refusals.add(place, str(error))
        return None


def _anywhere(
    value: Any, at: str, steps: dict[str, Step], unread: frozenset[str], graph: Graph
) -> frozenset[str]:
    """The steps named by expressions that are evaluated at the end, when all steps are upstream."""
    reads: set[str] = set()
    for place, text in templates_in(value, at):
        template = _template(place, text, graph.refusals)
        if template is None:
            continue
        _count(place, template, graph)
        for expression in template.expressions:
            if items := expression.uses & {"item", "index"}:
                graph.refusals.add(place, f"there is no {min(items)} outside of a for_each")
            for other in sorted(expression.steps):
                if other in steps:
                    reads.add(other)
                elif other not in unread:
                    graph.refusals.add(place, str(_worded(expression, _unknown(other, steps))))
    return frozenset(reads)


def _sorted(needs: dict[str, dict[str, int]]) -> tuple[list[str], int]:
    """The steps, each after its needs, and the longest path. Steps in a cycle, and after one, are left out."""
    left = {name: len(own) for name, own in needs.items()}
    dependents: dict[str, list[str]] = {name: [] for name in needs}
    for name, own in needs.items():
        for other in own:
            dependents[other].append(name)
    level = [name for name, count in left.items() if not count]
    order: list[str] = []
    depth = 0
    while level:
        depth += 1
        order += level
        following: list[str] = []
        for name in level:
            for dependent in dependents[name]:
                left[dependent] -= 1
                if not left[dependent]:
                    following.append(dependent)
        level = following
    return order, depth


def _add_implied(
    graph: Graph, named: dict[str, dict[str, _Named]], order: list[str]
) -> dict[tuple[str, str], _Named]:
    """Add the edges that expressions imply, and return them as (step, need)."""
    wanted = {
        name: missing
        for name, uses in named.items()
        if (missing := {other: use for other, use in uses.items() if other not in graph.needs[name]})
    }
    if not wanted:
        return {}
    # As sets of bits: with 10,000 steps and 30,000 edges some 40 ms, where walking up for each would be quadratic.
    bit = {name: 1 << i for i, name in enumerate(order)}
    upstream: dict[str, int] = {}
    for name in order:
        above = 0
        for other in graph.needs[name]:
            above |= upstream[other] | bit[other]
        upstream[name] = above
    added: dict[tuple[str, str], _Named] = {}
    for name, uses in wanted.items():
        for other, use in uses.items():
            if not upstream[name] & bit[other]:
                graph.needs[name][other] = Outcome.SUCCEEDED.bit if use.wants_output else ANY
                added[name, other] = use
    return added


def _refuse_cycle(graph: Graph, order: list[str], added: dict[tuple[str, str], _Named]) -> None:
    done = set(order)
    # Every step left has a need left: following it must come back to where it was.
    step = next(name for name in graph.needs if name not in done)
    seen: dict[str, int] = {}
    path: list[str] = []
    while step not in seen:
        seen[step] = len(path)
        path.append(step)
        step = next(other for other in graph.needs[step] if other not in done)
    cycle = [*path[seen[step] :], step]
    written = {name: i for i, name in enumerate(graph.needs)}
    first = min(range(len(cycle) - 1), key=lambda i: written[cycle[i]])
    cycle = [*cycle[first:-1], *cycle[:first], cycle[first]]
    shown = cycle if len(cycle) <= 20 else [*cycle[:10], "...", *cycle[-9:]]
    place = f"steps.{cycle[0]}.needs"
    reason = ""
    for name, other in pairwise(cycle):
        if use := added.get((name, other)):
            place = use.place
            reason = f"; {name} needs {other} because of {str(_worded(use.expression, '')).rstrip(': ')}"
            break
    graph.refusals.add(
        place, f"these steps wait for each other (each needs the next): {' -> '.join(shown)}{reason}"
    )


def _check_limits(graph: Graph) -> None:
    for name, needs in graph.needs.items():
        if len(needs) > MAX_NEEDS:
            graph.refusals.add(
                f"steps.{name}.needs", f"has {len(needs)} needs; a step has at most {MAX_NEEDS}"
            )
    if graph.edges > MAX_EDGES:
        graph.refusals.add("steps", f"have {graph.edges} needs together; a workflow has at most {MAX_EDGES}")
