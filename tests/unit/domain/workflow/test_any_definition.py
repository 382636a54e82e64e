"""Any definition: refused in words or run to its end, whatever somebody sends."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux.domain.errors import Invalid
from flux.domain.workflow.definition import Definition, digest, dump_definition
from flux.domain.workflow.expression import ExpressionError, compile_expression
from flux.domain.workflow.parse import parse_definition, parse_with_graph
from flux.domain.workflow.plan import Plan, plan
from flux.domain.workflow.release import OnFailure, Outcome, WorkflowState
from flux.domain.workflow.scope import Scope, StepView
from flux.domain.workflow.template import fill, parse_template
from tests.unit.domain.workflow.reference import ReferenceRun
from tests.unit.domain.workflow.test_definition import ORDER

SLOWLY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from(["a", "b", "c", "d", "flip-coin", "e.f"])
EXPRESSIONS = st.builds(
    lambda name, field, tail: '${{ steps["' + name + '"].' + field + tail + " }}",
    NAMES,
    st.sampled_from(["output", "state", "error", "output.x"]),
    st.sampled_from(["", " == null", " + 1", " ? 1", "]", ".map(x, x)"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | EXPRESSIONS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
CONDITIONS = st.sampled_from(["succeeded", "failed", "skipped", "cancelled", "ended"])
NEEDS = st.lists(
    NAMES
    | st.fixed_dictionaries({"step": NAMES}, optional={"on": CONDITIONS | st.lists(CONDITIONS, max_size=3)}),
    max_size=4,
)
COMMON = {"needs": NEEDS, "when": EXPRESSIONS, "continue_on_failure": st.booleans()}
STEPS = (
    st.fixed_dictionaries(
        {"type": st.sampled_from(["t", "u"])},
        optional={
            **COMMON,
            "payload": JSON,
            "for_each": EXPRESSIONS | st.lists(JSON, max_size=2),
            "priority": st.integers(0, 11),
            "timeout": st.sampled_from(["1s", "0s", 5, "x"]),
            "memo": st.fixed_dictionaries({"key": EXPRESSIONS}, optional={"ttl": st.just("90m")}),
        },
    )
    | st.fixed_dictionaries(
        {"wait_for": st.just("time"), "delay": st.just("1h") | EXPRESSIONS}, optional=COMMON
    )
    | st.fixed_dictionaries({"wait_for": st.just("signal"), "signal": st.just("go")}, optional=COMMON)
    | st.fixed_dictionaries(
        {"workflow": st.sampled_from(["w@2", "w", "@"])}, optional={**COMMON, "input": JSON}
    )
)
DEFINITIONS = st.fixed_dictionaries(
    {"name": st.just("w"), "steps": st.dictionaries(NAMES, STEPS, min_size=1, max_size=6)},
    optional={"output": JSON, "on_failure": st.sampled_from(["fail_fast", "finish_independent"])},
)


@st.composite
def graphs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """Definitions whose graphs have no cycle, of up to 12 steps."""
    count = draw(st.integers(1, 12))
    steps: dict[str, Any] = {}
    for i in range(count):
        needs = draw(st.lists(st.integers(0, i - 1), unique=True, max_size=4)) if i else []
        steps[f"s{i}"] = {
            "type": "t",
            "continue_on_failure": draw(st.booleans()),
            "needs": [
                {"step": f"s{other}", "on": draw(st.lists(CONDITIONS, min_size=1, max_size=3))}
                for other in needs
            ],
        }
    shuffled = draw(st.permutations(sorted(steps)))
    return {
        "name": "w",
        "on_failure": draw(st.sampled_from(["fail_fast", "finish_independent"])),
        "steps": {name: steps[name] for name in shuffled},
    }


@st.composite
def mutated(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Any:
    """The contract's example with something in it replaced, taken out or put in."""
    whole: Any = copy.deepcopy(ORDER)
    for _ in range(draw(st.integers(1, 3))):
        at: Any = whole
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
                at = at[key]
                continue
            what = draw(st.sampled_from(["replace", "remove", "add"]))
            if what == "remove":
                del at[key]
            elif what == "replace":
                at[key] = draw(JSON | EXPRESSIONS)
            elif isinstance(at, dict):
                at[draw(st.text(max_size=6) | st.sampled_from(["needs", "type", "when"]))] = draw(JSON)
            break
    return whole


def accepted(value: object) -> Definition | None:
    """The definition, or None when it is refused as it should be: in words, each with a place."""
    errors = []
    try:
        return parse_definition(value)
    except Invalid as refused:
        errors = refused.errors
    assert errors
    assert all(error.field and error.message for error in errors)
    return None


def check_whatever_is_accepted(value: object, choose: Callable[[int], int]) -> None:
    definition = accepted(value)
    if definition is None:
        return
    dumped = dump_definition(definition)
    assert parse_definition(dumped) == definition
    assert parse_definition(msgspec.json.decode(msgspec.json.encode(dumped))) == definition
    assert digest(parse_definition(dumped)) == digest(definition)
    found = plan(definition)
    for step in found.steps:
        assert all(edge.step > step.number for edge in step.dependents)
        assert all(other < step.number for reads in step.reads.values() for other in reads)
    run = ReferenceRun(
        found, dict.fromkeys(range(len(found.steps)), Outcome.SUCCEEDED), definition.on_failure
    )
    run.run(choose)
    check_end(run)


def check_end(run: ReferenceRun) -> None:
    assert len(run.ended) == len(run.plan.steps)
    assert run.state is not WorkflowState.RUNNING
    assert max(run.releases.values(), default=1) == 1


@SLOWLY
@given(JSON | st.dictionaries(st.sampled_from(["name", "steps", "output", "on_exit"]), JSON))
def test_anything_at_all(value: object) -> None:
    check_whatever_is_accepted(value, lambda n: 0)


@SLOWLY
@given(DEFINITIONS, st.data())
def test_what_looks_like_a_definition(value: object, data: st.DataObject) -> None:
    check_whatever_is_accepted(value, lambda n: data.draw(st.integers(0, n - 1)))


@SLOWLY
@given(mutated())
def test_a_definition_with_mistakes(value: object) -> None:
    check_whatever_is_accepted(value, lambda n: n - 1)


@SLOWLY
@given(graphs(), st.data())
def test_any_graph_ends_and_releases_each_step_once(value: dict[str, Any], data: st.DataObject) -> None:
    definition = parse_definition(value)
    run = ReferenceRun(found := plan(definition), outcomes(found, data), definition.on_failure)
    run.run(lambda n: data.draw(st.integers(0, n - 1)))
    check_end(run)


@SLOWLY
@given(graphs(), st.data())
def test_the_order_of_ends_does_not_matter(value: dict[str, Any], data: st.DataObject) -> None:
    found = plan(parse_definition(value))
    ends = outcomes(found, data)
    first = ReferenceRun(found, ends, OnFailure.FINISH_INDEPENDENT)
    first.run(lambda n: 0)
    other = ReferenceRun(found, ends, OnFailure.FINISH_INDEPENDENT)
    other.run(lambda n: data.draw(st.integers(0, n - 1)))
    assert other.ended == first.ended
    assert other.state == first.state


@SLOWLY
@given(graphs(), st.data())
def test_fail_fast_fails_whatever_the_order(value: dict[str, Any], data: st.DataObject) -> None:
    found = plan(parse_definition(value))
    ends = outcomes(found, data)
    careful = ReferenceRun(found, ends, OnFailure.FINISH_INDEPENDENT)
    careful.run(lambda n: 0)
    hasty = ReferenceRun(found, ends, OnFailure.FAIL_FAST)
    hasty.run(lambda n: data.draw(st.integers(0, n - 1)))
    assert hasty.state == careful.state


def outcomes(found: Plan, data: st.DataObject) -> dict[int, Outcome]:
    """How each step ends when it runs."""
    how = st.sampled_from(
        [Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SKIPPED, Outcome.CANCELLED]
    )
    return {step.number: data.draw(how) for step in found.steps}


PIECES = st.sampled_from(
    [
        "input", "input.n", "input.l", "steps.a.output", "steps['a'].state", "steps", "workflow.id", "item", "x", "y",
        "has(", "map(", "exists(", "matches(", ".map(x,", ".all(y,", "(", ")", "[", "]", "{", "}", ",", ":", "?", ".",
        "+", "-", "*", "/", "%", "==", "&&", "||", "!", "in", "null", "true", "1", "2.5", "3u", "0x1F", "$", "é",
        "'a'", '"b"', r"r'\\'", "'''c'''", "b'd'", "//", "\n", "${{", "}}",
    ]
)  # fmt: skip


@SLOWLY
@given(st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=20))
def test_any_expression_gives_a_json_value_or_one_kind_of_error(source: str) -> None:
    scope = Scope(input={"n": 1, "l": [1, 2]}, steps={"a": StepView("succeeded", {"x": 1})}, item=1, index=0)
    try:
        value = compile_expression(source).evaluate(scope)
    except ExpressionError:
        return
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


@SLOWLY
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=20))
def test_any_string_is_filled_in_or_refused(text: str) -> None:
    try:
        parse_template(text)
        fill(text, Scope())
    except ExpressionError:
        return


def test_the_graph_is_found_with_the_definition() -> None:
    definition, graph = parse_with_graph(ORDER)
    assert plan(definition, graph) == plan(definition)
