"""Values of a workflow: Python operators become the expression that means the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.domain.workflow.expression import compile_expression
from flux.domain.workflow.scope import Scope, StepView
from flux.workflows.values import Value, cel, contains, either, has, literal, size, source

INPUT = Value("input")


def worth(value: Value, input: Any = None, **outputs: Any) -> Any:
    """What a run would find."""
    steps = {name: StepView("succeeded", output) for name, output in outputs.items()}
    return compile_expression(source(value)).evaluate(Scope(input=input, steps=steps))


Pair = tuple[Any, Any]
"""The same thing as Python works it out and as a workflow's value."""

_ARITHMETIC: list[Callable[[Any, Any], Any]] = [operator.add, operator.sub, operator.mul]
_COMPARISONS: list[Callable[[Any, Any], Any]] = [
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
]
_LOGIC: list[Callable[[Any, Any], Any]] = [operator.and_, operator.or_]


def combined(
    inner: st.SearchStrategy[Pair], operators: list[Callable[[Any, Any], Any]]
) -> st.SearchStrategy[Pair]:
    return st.tuples(st.sampled_from(operators), inner, inner).map(
        lambda found: (found[0](found[1][0], found[2][0]), found[0](found[1][1], found[2][1]))
    )


small = st.integers(-5, 5)
numbers = st.recursive(
    st.one_of(
        st.sampled_from(["a", "b"]).map(lambda name: ({"a": 3, "b": -2}[name], getattr(INPUT, name))),
        small.map(lambda number: (number, Value(literal(number) if number >= 0 else f"({number})"))),
    ),
    lambda inner: combined(inner, _ARITHMETIC) | inner.map(lambda pair: (-pair[0], -pair[1])),
    max_leaves=8,
)
truths = st.recursive(
    combined(numbers, _COMPARISONS),
    lambda inner: combined(inner, _LOGIC) | inner.map(lambda pair: (not pair[0], ~pair[1])),
    max_leaves=6,
)


@given(numbers)
def test_arithmetic_means_what_it_means_in_python(pair: Pair) -> None:
    assert worth(pair[1], {"a": 3, "b": -2}) == pair[0]


@given(truths)
def test_conditions_mean_what_they_mean_in_python(pair: Pair) -> None:
    assert worth(pair[1], {"a": 3, "b": -2}) is bool(pair[0])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(-1e9, 1e9)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(json_values)
def test_literals_come_out_as_they_went_in(value: Any) -> None:
    found = worth(Value(literal(value)))
    assert found == value
    assert isinstance(value, bool) is isinstance(found, bool)


def test_numbers_may_stand_on_either_side() -> None:
    n = INPUT.n
    assert worth(10 - n, {"n": 4}) == 6
    assert worth(10 - (n - 1), {"n": 4}) == 7
    assert worth(7 / n, {"n": 2}) == 3
    assert worth(7 % n, {"n": 4}) == 3
    assert worth(2 * (1 + n), {"n": 4}) == 10


@pytest.mark.parametrize("name", ["total", "in", "flip-coin", "x y", "né", "while", 'a"b'])
def test_any_field_may_be_asked_for(name: str) -> None:
    assert worth(getattr(INPUT, name), {name: 1}) == 1
    assert worth(INPUT[name], {name: 1}) == 1


def test_items_fields_and_functions() -> None:
    given = {"list": [1, 2], "index": 1, "name": "ann", "deep": {"er": None}}
    assert worth(INPUT.list[INPUT.index], given) == 2
    assert worth(size(INPUT.list) + size(INPUT.name), given) == 5
    assert worth(has(INPUT.deep.er), given) is True
    assert worth(has(INPUT.deep.est), given) is False
    assert worth(contains(INPUT.list, 2) & contains(["bob", "ann"], INPUT.name), given) is True
    assert worth(either(INPUT.index > 0, either(INPUT.index > 1, "many", "one"), "none"), given) == "one"
    assert worth(either(INPUT.index > 5, INPUT.not_there, "none"), given) == "none"
    assert worth(cel(f"{INPUT.list}.map(n, n * 2)"), given) == [2, 4]
    assert worth(cel(f"{INPUT.list}.size()") == 2, given) is True


def test_a_text_with_values_in_it_may_be_compared() -> None:
    assert worth(
        INPUT.name == f"{INPUT.first} the {INPUT.count}th",
        {"name": "ann the 5th", "first": "ann", "count": 5},
    )


@dataclass
class Item:
    price: float
    tags: list[str]


@dataclass
class Order:
    order_id: int
    items: list[Item]
    parent: Order | None = None


def test_a_misspelt_field_is_found_while_one_writes() -> None:
    order = Value("input", Order)
    assert source(order.items[0].price) == "input.items[0].price"
    assert source(order.parent.order_id) == "input.parent.order_id"
    with pytest.raises(AttributeError, match=r"input is a Order and has no ordr_id; did you mean order_id\?"):
        _ = order.ordr_id
    with pytest.raises(
        AttributeError, match=r"input.items\[0\] is a Item and has no weight; it has price, tags"
    ):
        _ = order.items[0].weight
    assert source(order.items[0].tags[1].anything) == "input.items[0].tags[1].anything"


def test_what_python_would_decide_at_once_is_refused_with_what_to_do() -> None:
    paid = INPUT.paid
    with pytest.raises(TypeError, match="and parentheses"):
        _ = paid and INPUT.shipped
    with pytest.raises(TypeError, match="either"):
        _ = 1 if paid else 2
    with pytest.raises(TypeError, match="for_each"):
        list(INPUT.items)
    with pytest.raises(TypeError, match="contains"):
        _ = "a" in INPUT.items
    with pytest.raises(TypeError, match="size"):
        len(INPUT.items)
    with pytest.raises(TypeError, match="no slices"):
        _ = INPUT.items[1:]
    with pytest.raises(TypeError, match="formatted"):
        f"{paid:>10}"
    with pytest.raises(TypeError, match="unhashable"):
        _ = {paid: 1}
    with pytest.raises(TypeError, match="NaN"):
        literal(float("nan"))
    with pytest.raises(TypeError, match="object has no form"):
        _ = paid == object()
