"""The plan of a definition: what an engine stores."""

from __future__ import annotations

import pytest

from flux.domain.errors import Invalid
from flux.domain.workflow.definition import Definition, JobStep
from flux.domain.workflow.parse import parse_definition
from flux.domain.workflow.plan import Edge, plan
from flux.domain.workflow.release import ANY, Counters, Outcome
from tests.unit.domain.workflow.test_definition import ORDER


def test_the_plan_of_the_example() -> None:
    found = plan(parse_definition(ORDER))
    assert [step.name for step in found.steps] == [
        "charge", "pick", "label", "approve", "notify", "cool", "child",
    ]  # fmt: skip
    assert [step.number for step in found.steps] == list(range(7))
    assert [step.kind for step in found.steps] == ["job", "job", "job", "signal", "job", "time", "workflow"]
    assert [step.needs for step in found.steps] == [0, 1, 1, 1, 2, 1, 1]
    assert found.steps[1].dependents == (Edge(3, 1), Edge(4, 1))
    assert (found.edges, found.depth, found.roots) == (7, 4, (0,))
    assert (found.output_reads, found.exit_reads) == ((0, 4), ())
    label, notify = found.steps[2], found.steps[4]
    assert label.reads == {"when": (0,), "payload": (0,)}
    assert (label.has_when, label.has_expressions, label.fans_out) == (True, True, False)
    assert notify.reads == {"for_each": (1,), "payload": ()}
    assert (notify.fans_out, notify.has_when, notify.has_expressions) == (True, False, True)
    assert notify.counters() == Counters(2)
    assert not found.steps[1].has_expressions


def test_an_edge_carries_its_condition_and_a_step_whether_it_may_fail() -> None:
    steps = {
        "a": {"type": "t", "continue_on_failure": True},
        "b": {"type": "t", "needs": [{"step": "a", "on": ["failed", "skipped"]}]},
        "c": {"type": "t", "needs": [{"step": "a", "on": "ended"}]},
    }
    found = plan(parse_definition({"name": "w", "steps": steps}))
    assert found.steps[0].dependents == (Edge(1, Outcome.FAILED.bit | Outcome.SKIPPED.bit), Edge(2, ANY))
    assert [step.continue_on_failure for step in found.steps] == [True, False, False]


def test_a_definition_that_was_never_checked_is_refused() -> None:
    unchecked = Definition(name="w", steps={"a": JobStep(type="t", needs=("nobody",))})
    with pytest.raises(Invalid, match="there is no step 'nobody'"):
        plan(unchecked)
