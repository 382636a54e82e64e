"""Strings with expressions in them."""

from __future__ import annotations

from typing import Any

import pytest

from flux.domain.workflow.expression import ExpressionError
from flux.domain.workflow.scope import Scope
from flux.domain.workflow.template import all_cheap, fill, parse_template, templates_in

SCOPE = Scope(input={"n": 3, "f": 1.5, "t": "text", "l": [1, None], "b": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${{ input.n }}", 3),
        ("${{input.l}}", [1, None]),
        (" ${{ input.n }}", " 3"),
        ("n=${{ input.n }}, f=${{ input.f }}, b=${{ input.b }}", "n=3, f=1.5, b=true"),
        ("${{ input.t }}${{ input.l }}", "text[1,null]"),
        ("$${{ input.n }}", "${{ input.n }}"),
        ("$${{ x }} ${{ input.n }}", "${{ x }} 3"),
        ("$ { {", "$ { {"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ '}}' }}", "}}"),
        ("${{ '${{' }}", "${{"),
        ("${{ 1 // }} no end\n}}", 1),
        ('${{ """a"}}"b""" }}', 'a"}}"b'),
    ],
)
def test_fill(text: str, expected: object) -> None:
    assert parse_template(text).fill(SCOPE) == expected


def test_a_value_is_filled_in_wherever_a_string_stands_and_keys_stay() -> None:
    given: Any = {"a": ["${{ input.n }}", {"${{ input.n }}": "x${{ input.t }}"}], "b": 1, "c": None}
    assert fill(given, SCOPE) == {"a": [3, {"${{ input.n }}": "xtext"}], "b": 1, "c": None}


def test_the_place_of_each_string() -> None:
    given = {"a": ["x", "${{ 1 }}"], "b": {"c": "${{ 2 }}"}}
    assert list(templates_in(given, "payload")) == [("payload.a[1]", "${{ 1 }}"), ("payload.b.c", "${{ 2 }}")]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("ab ${{ input.n +* 1 }}", 1, 17, "does not parse: unexpected '*'"),
        ("line\n  ${{\n 1 + }}", 3, 6, "does not parse: unexpected end"),
        ("${{ 'abc }}", 1, 5, "does not parse: here is a string that is not closed"),
        (
            "x ${{ input.n",
            1,
            6,
            "has no }} that ends it within 4096 characters (write $${{ for a literal ${{)",
        ),
        (
            "${{ input.n } }",
            1,
            4,
            "has no }} that ends it within 4096 characters (write $${{ for a literal ${{)",
        ),
        ("${{ }}", 1, 4, "is empty"),
        ("${{ 1 }}" * 101, 1, 804, "stands in a string with more than 100 expressions"),
    ],
)
def test_a_refusal_has_its_place_in_the_string(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse_template(text)
    assert (refused.value.message, refused.value.line, refused.value.column) == (words, line, column)


def test_what_expressions_give_together_is_bounded() -> None:
    scope = Scope(input=list(range(1_000)))
    assert len(fill(["${{ input }}"] * 2, scope, most=2_100)) == 2
    with pytest.raises(ExpressionError, match="with this the expressions give too large a value"):
        fill(["${{ input }}"] * 3, scope, most=2_100)


def test_a_value_is_cheap_when_all_of_it_is() -> None:
    assert all_cheap({"a": "${{ input.n }}", "b": "${{ input.n + 1 }}"}, SCOPE)
    assert not all_cheap({"a": "${{ input.n }}", "b": "${{ input.l.map(x, x) }}"}, SCOPE)
    assert not all_cheap(["${{ input.n }}"] * 1_000, SCOPE)
