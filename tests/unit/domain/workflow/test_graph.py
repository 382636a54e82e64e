"""The graph of a definition: edges, order, and what no graph may have."""

from __future__ import annotations

from typing import Any

import pytest

from flux.domain.errors import Invalid
from flux.domain.workflow.graph import Graph
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.release import ANY, Outcome

SUCCEEDED = Outcome.SUCCEEDED.bit


def graph(steps: dict[str, dict[str, Any]], **fields: Any) -> Graph:
    given = {name: ({} if "wait_for" in step else {"type": "t"}) | step for name, step in steps.items()}
    return parse_with_graph({"name": "w", "steps": given, **fields})[1]


def refusals(steps: dict[str, dict[str, Any]], **fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        graph(steps, **fields)
    return [(error.field, error.message) for error in refused.value.errors]


def test_each_step_comes_after_its_needs_and_as_written_otherwise() -> None:
    found = graph(
        {"d": {"needs": ["b", "c"]}, "b": {"needs": ["a"]}, "c": {"needs": ["a"]}, "a": {}, "e": {}}
    )
    assert found.order == ("a", "e", "b", "c", "d")
    assert found.edges == 4
    assert found.depth == 3


def test_conditions_are_masks() -> None:
    found = graph(
        {
            "a": {},
            "b": {"needs": [{"step": "a", "on": ["failed", "cancelled"]}]},
            "c": {"needs": ["a", {"step": "b", "on": "ended"}]},
        }
    )
    assert found.needs == {
        "a": {},
        "b": {"a": Outcome.FAILED.bit | Outcome.CANCELLED.bit},
        "c": {"a": SUCCEEDED, "b": ANY},
    }


@pytest.mark.parametrize(
    ("source", "mask"),
    [
        ("steps.a.output", SUCCEEDED),
        ("'x' + steps['a'].output.x", SUCCEEDED),
        ("steps.a.state == 'failed'", ANY),
        ("has(steps.a.output)", ANY),
        ("steps.a.error", ANY),
    ],
)
def test_an_expression_makes_an_edge_where_there_is_none(source: str, mask: int) -> None:
    assert graph({"b": {"payload": {"x": ["${{ " + source + " }}"]}}, "a": {}}).needs["b"] == {"a": mask}


def test_an_edge_that_is_written_or_lies_on_the_way_is_not_made_again() -> None:
    found = graph(
        {
            "a": {},
            "b": {"needs": [{"step": "a", "on": "ended"}]},
            "c": {"needs": ["b"], "payload": "${{ steps.a.output }} ${{ steps.b.output }}"},
        }
    )
    assert found.needs["c"] == {"b": SUCCEEDED}


@pytest.mark.parametrize(
    "step",
    [
        {"when": "${{ steps.a.output }}"},
        {"for_each": "${{ steps.a.output }}"},
        {"for_each": ["x", "${{ steps.a.output }}"]},
        {"for_each": [1], "item_when": "${{ steps.a.output == item }}"},
        {"memo": {"key": "k-${{ steps.a.output }}"}},
        {"payload": "${{ steps.a.output }}"},
        {"wait_for": "time", "delay": "${{ steps.a.output }}"},
        {"wait_for": "time", "until": "${{ steps.a.output }}"},
    ],
)
def test_expressions_make_edges_wherever_they_stand(step: dict[str, Any]) -> None:
    found = graph({"b": step, "a": {}})
    assert found.needs["b"] == {"a": SUCCEEDED}
    (reads,) = found.reads["b"].values()
    assert reads == {"a"}


def test_what_is_read_at_the_end_needs_no_edge() -> None:
    found = graph(
        {"a": {}, "b": {}},
        output={"x": "${{ steps.b.output }}"},
        on_exit={"type": "t", "payload": "${{ steps.a.state }}"},
    )
    assert (found.edges, found.output_reads, found.exit_reads) == (0, {"b"}, {"a"})


@pytest.mark.parametrize(
    ("steps", "field", "words"),
    [
        (
            {"charge": {}, "b": {"needs": ["chrage"]}},
            "steps.b.needs[0]",
            "there is no step 'chrage'; did you mean charge?",
        ),
        (
            {"b": {"needs": [{"step": "zz"}]}},
            "steps.b.needs[0]",
            "there is no step 'zz'; each step is named by its key in steps",
        ),
        ({"a": {"needs": ["a"]}}, "steps.a.needs[0]", "a step cannot need itself"),
        (
            {"a": {}, "b": {"needs": ["a", {"step": "a", "on": "failed"}]}},
            "steps.b.needs[1]",
            "names a twice; give all its conditions at once: on: [...]",
        ),
        (
            {
                "c": {"needs": ["b"]},
                "a": {"needs": ["c"]},
                "b": {"needs": ["a"]},
                "z": {"needs": ["a"]},
                "r": {},
            },
            "steps.c.needs",
            "these steps wait for each other (each needs the next): c -> b -> a -> c",
        ),
        (
            {"a": {"payload": {"x": "${{ steps.b.output }}"}}, "b": {"needs": ["a"]}},
            "steps.a.payload.x",
            "these steps wait for each other (each needs the next): a -> b -> a; "
            "a needs b because of ${{ steps.b.output }} at line 1, column 4",
        ),
        (
            {"charge": {}, "b": {"payload": {"x": ["at ${{ steps.chrage.output }}"]}}},
            "steps.b.payload.x[0]",
            "${{ steps.chrage.output }} at line 1, column 7: there is no step 'chrage'; did you mean charge?",
        ),
        (
            {"a": {"when": "${{ steps.a.state == 'x' }}"}},
            "steps.a.when",
            "${{ steps.a.state == 'x' }} at line 1, column 4: names its own step",
        ),
        (
            {"a": {"when": "${{ 1 + }}"}},
            "steps.a.when",
            "${{ 1 + }} at line 1, column 9: does not parse: unexpected end",
        ),
        (
            {"a": {"payload": {"x": "${{ nope }}"}}},
            "steps.a.payload.x",
            "${{ nope }} at line 1, column 5: there is no nope here; there are input, steps, workflow, item, index",
        ),
        ({"a": {"when": "yes"}}, "steps.a.when", "must be one expression with nothing around it: ${{ ... }}"),
        ({"a": {"payload": "${{ item }}"}}, "steps.a.payload", "there is no item outside of a for_each"),
        (
            {"a": {"for_each": [1], "when": "${{ index > 1 }}"}},
            "steps.a.when",
            "there is no index in when, which is judged once",
        ),
    ],
)
def test_refused_at_the_door(steps: dict[str, dict[str, Any]], field: str, words: str) -> None:
    assert refusals(steps) == [(field, words)]


def test_refused_at_the_end_of_the_workflow() -> None:
    assert refusals({"a": {}}, output="${{ steps.b.output }}") == [
        (
            "output",
            "${{ steps.b.output }} at line 1, column 4: there is no step 'b'; each step is named by its key in steps",
        )
    ]
    assert refusals({"a": {}}, on_exit={"type": "t", "payload": "${{ item }}"}) == [
        ("on_exit.payload", "there is no item outside of a for_each")
    ]


def test_limits_of_edges() -> None:
    many = {f"s{i}": {} for i in range(1_001)}
    assert refusals({**many, "all": {"needs": list(many)}}) == [
        ("steps.all.needs", "has 1001 needs; a step has at most 1000")
    ]
    wide = {f"s{i}": {} for i in range(1_000)} | {
        f"t{i}": {"needs": [f"s{k}" for k in range(1_000)]} for i in range(101)
    }
    assert refusals(wide) == [("steps", "have 101000 needs together; a workflow has at most 100000")]


def test_limit_of_expressions() -> None:
    alike = ["${{ input.x }}" * 100] * 501
    assert refusals({"a": {"payload": alike}}) == [
        ("steps.a.payload[500]", "is one of more than 50000 expressions; a workflow has at most as many")
    ]
    assert [field for field, _ in refusals({"a": {"payload": alike[:-1]}}, output=alike[:1])] == ["output[0]"]


def test_a_long_cycle_is_printed_in_part() -> None:
    steps: dict[str, dict[str, Any]] = {f"s{i}": {"needs": [f"s{(i + 1) % 500}"]} for i in range(500)}
    ((field, words),) = refusals(steps)
    assert field == "steps.s0.needs"
    assert words.endswith(
        "s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> s6 -> s7 -> s8 -> s9 -> ... -> s492 -> s493 -> "
        "s494 -> s495 -> s496 -> s497 -> s498 -> s499 -> s0"
    )
