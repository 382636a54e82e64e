"""Expressions: what they may say, what they give, and that none takes more than its share."""

from __future__ import annotations

from typing import Any

import pytest

from flux.domain.workflow.expression import (
    MAX_BRACKETS,
    MAX_LENGTH,
    MAX_TOKENS,
    Expression,
    ExpressionError,
    compile_expression,
)
from flux.domain.workflow.references import MAX_COMPREHENSIONS, MAX_COMPREHENSIONS_NESTED, MAX_PATTERN
from flux.domain.workflow.scope import Scope, StepView, WorkflowView

SCOPE = Scope(
    input={"n": 3, "half": 0.5, "list": [1, 2, 3], "text": "hé", "none": None},
    steps={
        "a": StepView("succeeded", {"total": 3, "rows": [{"id": "x", "n": 1}, {"id": "y", "n": 2}]}),
        "empty": StepView("succeeded", None),
        "flip-coin": StepView("skipped"),
        "broken": StepView("failed", error={"kind": "exception", "message": "no"}),
    },
    workflow=WorkflowView("01J", "order"),
)


def value(source: str, scope: Scope = SCOPE) -> Any:
    return compile_expression(source).evaluate(scope)


def refusal(source: str) -> str:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(source)
    return refused.value.message


def failure(source: str, scope: Scope = SCOPE) -> str:
    expression = compile_expression(source)
    with pytest.raises(ExpressionError) as failed:
        expression.evaluate(scope)
    return failed.value.message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("input.n", 3),
        (" input . n ", 3),
        ("input['n'] + 1", 4),
        ("steps.a.output.total > 2", True),
        ("double(steps.a.output.total) * 1.5", 4.5),
        ("steps['flip-coin'].state", "skipped"),
        ('steps["flip-coin"].output', None),
        ("steps.broken.error.kind", "exception"),
        ("workflow.id + '/' + workflow.name + '/' + workflow.state", "01J/order/running"),
        ("steps.a.output.rows.map(r, r.id)", ["x", "y"]),
        ("steps.a.output.rows.map(r, r.n > 1, r.id)", ["y"]),
        ("steps.a.output.rows.filter(r, r.n > 1).size()", 1),
        ("input.list.exists(x, x == 2) && input.list.all(x, x > 0)", True),
        ("input.list.exists_one(x, x > 2)", True),
        ("input.list.map(x, input.list.filter(y, y > x).map(y, x * y))", [[2, 3], [6], []]),
        ("input.list.map(x, x // of a comment\n)", [1, 2, 3]),
        ("{'a': {'b': [input.n, null, true]}}", {"a": {"b": [3, None, True]}}),
        ("input.text.matches('^h.$')", True),
        ("size(input.list) + size('ab')", 5),
        ("input", SCOPE.input),
    ],
)
def test_value(source: str, expected: object) -> None:
    assert value(source) == expected


def test_index_and_item_belong_to_a_fan_out() -> None:
    scope = Scope(item={"id": 7}, index=2)
    assert value("item.id + index", scope) == 9
    assert failure("item.id") == "there is no item outside of a for_each"
    assert failure("item.id + 1") == "there is no item outside of a for_each"


def test_the_branch_that_is_not_taken_is_not_read() -> None:
    assert value("true ? 1 : steps.nowhere.output.x") == 1
    assert value("false && steps.nowhere.output.x") is False
    assert value("steps['flip-coin'].output == null ? 'none' : steps['flip-coin'].output.side") == "none"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("has(steps.a.output)", True),
        ("has(steps.empty.output)", True),
        ("has(steps['flip-coin'].output)", False),
        ("has(steps.broken.output)", False),
        ("has(steps.broken.error)", True),
        ("has(steps.a.error)", False),
        ("has(steps.a.output.total)", True),
        ("has(steps.a.output.nothing)", False),
        ("has(input.none)", True),
        ("has(steps['flip-coin'].output) ? steps['flip-coin'].output.side : 'edge'", "edge"),
    ],
)
def test_has(source: str, expected: bool) -> None:
    assert value(source) is expected or value(source) == expected


def test_an_integer_of_any_size_passes_as_it_is() -> None:
    assert value("input", Scope(input=2**80)) == 2**80


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("timestamp('2026-01-01T00:00:00Z') + duration('90m')", "2026-01-01T01:30:00.000000Z"),
        ("duration('90m')", "1h30m"),
        ("3u", 3),
    ],
)
def test_what_json_does_not_know_and_has_a_text_or_number_for_it(source: str, expected: object) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("b'x'", "its value is bytes, which have no form in JSON; write string(...)"),
        ("0.0 / 0.0", "its value is nan, which has no form in JSON"),
        ("[1.0 / 0.0]", "its value is inf, which has no form in JSON"),
        ("{1: 2}", "an object's keys must be strings in JSON; write string(1)"),
    ],
)
def test_what_has_no_form_in_json(source: str, words: str) -> None:
    assert failure(source) == words


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("input.zz", "input has no zz; ask has(input.zz) first"),
        ("input.zz + 1", "input has no zz; ask has(input.zz) first"),
        ("input.text.zz", "input.text is a string and has no zz"),
        (
            "steps['flip-coin'].output.side == 'heads'",
            "steps.flip-coin.output is null and has no side; ask steps.flip-coin.output != null first",
        ),
        ("input.list[5]", "index out of bounds: 5"),
        ("input.n / 0", "division by zero"),
        ("string(true)", "string is not defined for these values"),
        ("steps.later.state", "there is no step later here"),
        ("steps.later.state == 'x'", "there is no step later here"),
    ],
)
def test_a_failure_says_which_value_it_was(source: str, words: str) -> None:
    assert failure(source) == words


def test_a_mixture_of_types_names_double_and_not_a_path_that_was_only_asked_for() -> None:
    words = failure("has(input.zz) ? 1.5 : input.n + 1.5")
    assert words.startswith("mixes types (")
    assert "double(...)" in words
    assert "zz" not in words


@pytest.mark.parametrize(
    ("source", "line", "column", "words"),
    [
        ("1 +", 1, 4, "does not parse: unexpected end"),
        ("input.n ==\n  * 2", 2, 3, "does not parse: unexpected '*'"),
        ("input.n, 2", 1, 8, "does not parse: unexpected ','"),
        ("'abc", 1, 1, "does not parse: here is a string that is not closed"),
        ("input # 1", 1, 7, "does not parse: here is '#', which CEL does not know"),
        ("", 1, 1, "is empty"),
        ("  nope + 1", 1, 3, "there is no nope here; there are input, steps, workflow, item, index"),
        ("input.map(x, y)", 1, 14, "there is no y here; there are input, steps, workflow, item, index"),
        ("steps", 1, 1, 'must name a step in full: steps.name or steps["name"]'),
        ("steps[input.s].output", 1, 1, 'must name a step in full: steps.name or steps["name"]'),
        ("1 + steps.a", 1, 5, "steps.a alone says nothing: a step has output, state, error"),
        ("steps.a.outptu", 1, 1, "steps.a has no outptu; it has output, state, error"),
        ("workflow.start", 1, 1, "workflow has id, name, state: write workflow.id"),
        (".input", 1, 1, "a name cannot begin with a dot"),
        ("input.map(item, 1)", 1, 11, "item already means something here; choose another name"),
        ("a.b{c: 1}", 1, 1, "there is no a here; there are input, steps, workflow, item, index"),
        ("input{c: 1}", 1, 1, "input{...} would be a message, and there are none here"),
        ("map(input, 1)", 1, 1, "map belongs to a list: list.map(x, ...)"),
    ],
)
def test_refused_before_anything_runs(source: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(source)
    assert (refused.value.message, refused.value.line, refused.value.column) == (words, line, column)


def test_an_unknown_function_is_refused_with_those_that_there_are() -> None:
    assert refusal("input.upper()").startswith("there is no function upper; there are all, bytes, contains, ")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1" * (MAX_LENGTH + 1), f"has {MAX_LENGTH + 1} characters; an expression has at most {MAX_LENGTH}"),
        ("+".join(["1"] * MAX_TOKENS), f"has more than {MAX_TOKENS} names, values and signs"),
        ("(" * 25 + "1" + ")" * 25, f"has more than {MAX_BRACKETS} brackets open at once"),
        ("true ? 1 : " * 120 + "1", "is nested too deep"),
        (
            "+".join(["input.map(x, x)"] * (MAX_COMPREHENSIONS + 1)),
            "has more than 10 comprehensions (all, exists, exists_one, filter, map)",
        ),
        (
            "input.map(a, input.map(b, input.map(c, input.map(d, d))))",
            f"nests comprehensions more than {MAX_COMPREHENSIONS_NESTED} deep",
        ),
        ("'a'.matches(input.p)", "the pattern of matches must be a string as it stands, not computed"),
        ("'a'.matches('a{9}')", "the pattern of matches must not count repetitions ({3}): write them out"),
        (f"'a'.matches('{'a' * 201}')", f"the pattern of matches has more than {MAX_PATTERN} characters"),
    ],
)
def test_bounds(source: str, words: str) -> None:
    assert refusal(source) == words


@pytest.mark.parametrize(
    "source",
    [
        "input.map(x, x)",
        "input.filter(x, x > 0)",
        "input.map(x, input)",
        "input.exists(x, input.exists(y, y < 0))",
        "input.all(x, input.all(y, input.all(z, z >= 0)))",
        "input.exists_one(x, input.exists(y, y < 0))",
        "[input].map(x, x.exists(y, x.size() < y && x[0] < 0))",
        "input.exists(x, string(x).matches('" + ".*b" * 40 + "'))",
        # What is made grows from one comprehension to the next, or all at once.
        "[1]" + ".map(a, [a,a,a,a,a,a,a,a,a,a,a,a])" * 8,
        "['a']" + ".map(a, a+a+a+a+a+a+a+a+a+a+a+a+a+a)" * 9,
        "[" + "input, " * 20 + "].filter(x, " + " && ".join(["x == input"] * 20) + ")",
        "[" + "input, " * 200 + "].size()",
        # Each failure is outvoted by the next element, and none may be the end of it.
        "[1].exists(a, input.exists(x, input.exists(y, y < 0))) || true",
    ],
)
def test_an_expression_that_goes_on_for_too_long_is_cut_off(source: str) -> None:
    assert failure(source, Scope(input=list(range(20_000)))).startswith(
        "takes too many steps over these values"
    )


def test_what_a_workflow_goes_through_every_day_is_well_within_the_bounds() -> None:
    parcels = [{"id": f"{i:020}", "weight": i} for i in range(1_000)]
    scope = Scope(input={"parcels": parcels, "order": "42", "days": [[1] * 10] * 200})
    labels = value("input.parcels.map(p, {'id': p.id, 'weight': p.weight, 'order': input.order})", scope)
    assert labels[7] == {"id": f"{7:020}", "weight": 7, "order": "42"}
    assert len(value("input.parcels.filter(p, p.weight >= 100)", scope)) == 900
    assert value("input.days.map(d, d.map(x, x + 1))", scope) == [[2] * 10] * 200
    assert value("input.days.all(d, d.exists(x, x == d[0]))", scope) is True


def test_values_that_are_not_named_cost_nothing() -> None:
    scope = Scope(input={"huge": [list(range(10)) for _ in range(100_000)], "few": list(range(500))})
    assert len(value("input.few.map(x, x + 1)", scope)) == 500
    assert failure("input.huge.size()", scope) == (
        "the values that it names are too large for an expression; name a part of them"
    )
    assert value("input.huge", scope) is scope.input["huge"]


def test_a_value_that_grows_too_large() -> None:
    scope = Scope(input=list(range(50_000)))
    assert failure("[input, input, input, input, input, input]", scope) == "its value is too large"


def test_what_is_cheap() -> None:
    small = Scope(input=list(range(100)))
    large = Scope(input=list(range(100_000)))
    assert compile_expression("input.size() > 3").is_cheap(small)
    assert not compile_expression("input.size() > 3").is_cheap(large)
    assert compile_expression("input").is_cheap(large)
    assert not compile_expression("input.map(x, x)").is_cheap(small)


def test_what_it_names() -> None:
    expression = compile_expression(
        "steps.a.output.x > 1 ? steps['b-c'].state : string(input.n) + string(item)"
    )
    assert expression.steps == {"a", "b-c"}
    assert expression.uses == {"steps", "input", "item"}
    assert ("steps", "a", "output", "x") in expression.paths


@pytest.mark.parametrize(
    ("source", "wants"),
    [
        ("steps.a.output", True),
        ("steps.a.output.x + 1", True),
        ("has(steps.a.output)", False),
        ("has(steps.a.output) ? steps.a.output : 1", True),
        ("steps.a.state == 'failed'", False),
    ],
)
def test_whether_it_uses_an_output_or_only_asks(source: str, wants: bool) -> None:
    assert compile_expression(source).wants_output("a") is wants


def test_names_in_strings_comments_and_members_are_no_steps() -> None:
    expression: Expression = compile_expression("'steps.a' + string(input.steps) // steps.b.output\n")
    assert expression.steps == set()
    assert expression.uses == {"input"}


def test_an_error_tells_the_expression_and_its_place() -> None:
    with pytest.raises(ExpressionError) as failed:
        compile_expression(" input.zz ", 3, 9).evaluate(SCOPE)
    assert (
        str(failed.value) == "${{ input.zz }} at line 3, column 9: input has no zz; ask has(input.zz) first"
    )
    assert failed.value.source == " input.zz "
