"""What an engine stores when a workflow starts: the steps as numbers, with all that their ends need to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from flux.domain.errors import Invalid
from flux.domain.workflow.definition import Definition
from flux.domain.workflow.graph import Graph, find_graph
from flux.domain.workflow.release import Counters


class Edge(Struct, frozen=True, array_like=True):
    """What the end of a step does to another one: ``mask`` has the outcomes that satisfy it (``release.py``)."""

    step: int
    mask: int


class PlannedStep(Struct, frozen=True, kw_only=True):
    """One step, numbered so that each number is greater than those of its needs."""

    number: int
    name: str
    kind: str
    """``job``, ``signal``, ``time`` or ``workflow``."""
    needs: int
    dependents: tuple[Edge, ...]
    fans_out: bool
    has_when: bool
    has_expressions: bool
    """Whether its payload, input or time holds any: without, it is stored as it is."""
    continue_on_failure: bool
    reads: Mapping[str, tuple[int, ...]]
    """By role (``when``, ``payload``, ``for_each``, ...): the steps whose output, state or error its expressions read.
    A role without expressions is not there."""

    def counters(self) -> Counters:
        """The counters that it starts with."""
        return Counters(self.needs)


class Plan(Struct, frozen=True, kw_only=True):
    """A definition as numbers."""

    steps: tuple[PlannedStep, ...]
    edges: int
    depth: int
    """Steps on the longest path."""
    output_reads: tuple[int, ...]
    """The steps that the workflow's output reads."""
    exit_reads: tuple[int, ...]
    """The steps that ``on_exit`` reads."""

    @property
    def roots(self) -> tuple[int, ...]:
        """The steps that need nothing: they run at once."""
        return tuple(step.number for step in self.steps if not step.needs)


_BEFORE = frozenset({"payload", "input", "delay", "until"})


def plan(definition: Definition, graph: Graph | None = None) -> Plan:
    """The plan of a definition. Raises ``Invalid`` for one whose graph is refused.

    ``graph`` saves finding it again when it is known.
    """
    graph = graph or find_graph(definition)
    if graph.refusals:
        raise Invalid(list(graph.refusals))
    numbers = {name: number for number, name in enumerate(graph.order)}
    dependents: list[list[Edge]] = [[] for _ in numbers]
    for name, number in numbers.items():
        for other, mask in graph.needs[name].items():
            dependents[numbers[other]].append(Edge(number, mask))

    def numbered(names: Iterable[str]) -> tuple[int, ...]:
        return tuple(sorted(numbers[name] for name in names))

    steps: list[PlannedStep] = []
    for name, number in numbers.items():
        step = definition.steps[name]
        reads = graph.reads.get(name, {})
        steps.append(
            PlannedStep(
                number=number,
                name=name,
                kind=step.kind,
                needs=len(graph.needs[name]),
                dependents=tuple(dependents[number]),
                fans_out=getattr(step, "for_each", None) is not None,
                has_when=step.when is not None,
                has_expressions=not _BEFORE.isdisjoint(reads),
                continue_on_failure=step.continue_on_failure,
                reads={role: numbered(names) for role, names in reads.items()},
            )
        )
    return Plan(
        steps=tuple(steps),
        edges=graph.edges,
        depth=graph.depth,
        output_reads=numbered(graph.output_reads),
        exit_reads=numbered(graph.exit_reads),
    )
