"""What the expressions of a step come to when its turn has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flux.domain.duration import HOUR, MINUTE
from flux.domain.workflow.definition import MAX_ITEMS, TimeStep
from flux.domain.workflow.expression import ExpressionError
from flux.domain.workflow.resolve import delay_of, items, judge, memo_key, until_of
from flux.domain.workflow.scope import Scope

SCOPE = Scope(
    input={"n": 3, "l": [1, 2], "t": "90m", "at": "2026-11-24T19:33:54Z", "none": [], "o": {"b": 1, "a": 2}}
)


def waiting(**fields: Any) -> TimeStep:
    return TimeStep(wait_for="time", **fields)


def test_a_condition() -> None:
    assert judge(None, SCOPE)
    assert judge("${{ input.n > 2 }}", SCOPE)
    assert not judge("${{ input.n > 3 }}", SCOPE)


def test_items() -> None:
    assert items("${{ input.l }}", SCOPE) == [1, 2]
    assert items("${{ input.none }}", SCOPE) == []
    assert items(("a", "${{ input.n }}"), SCOPE) == ["a", 3]


def test_a_wait() -> None:
    assert delay_of(waiting(delay="1h"), SCOPE) == HOUR
    assert delay_of(waiting(delay="${{ input.t }}"), SCOPE) == 90 * MINUTE
    assert delay_of(waiting(delay="${{ input.n * 60 }}"), SCOPE) == 3 * MINUTE
    assert delay_of(waiting(delay="${{ -input.n }}"), SCOPE) == 0
    assert delay_of(waiting(delay="${{ input.n }}m"), SCOPE) == 3 * MINUTE
    assert delay_of(waiting(until="${{ input.at }}"), SCOPE) is None
    assert until_of(waiting(until="${{ input.at }}"), SCOPE) == until_of(
        waiting(until="2026-11-24T19:33:54Z"), SCOPE
    )
    assert until_of(waiting(delay="1h"), SCOPE) is None


def test_a_key() -> None:
    assert memo_key("of ${{ input.n }}", SCOPE) == "of 3"
    assert memo_key("${{ input.o }}", SCOPE) == '{"a":2,"b":1}'
    assert memo_key("always", SCOPE) == "always"


@pytest.mark.parametrize(
    ("resolve", "words"),
    [
        (
            lambda: judge("${{ input.n }}", SCOPE),
            "${{ input.n }} at line 1, column 4: must be true or false, and is an integer",
        ),
        (
            lambda: items("${{ input.t }}", SCOPE),
            "${{ input.t }} at line 1, column 4: must be a list to run a job for each of its items, and is a string",
        ),
        (
            lambda: items("${{ input }}", Scope(input=[0] * (MAX_ITEMS + 1))),
            "${{ input }} at line 1, column 4: has 100001 items; a fan-out has at most 100000",
        ),
        (
            lambda: delay_of(waiting(delay="${{ input.l }}"), SCOPE),
            "${{ input.l }} at line 1, column 4: a duration cannot be [1, 2]; "
            'write it like "30s", "5m", "1h30m" or "250ms", or as a number of seconds',
        ),
        (
            lambda: until_of(waiting(until="on ${{ input.t }}"), SCOPE),
            "${{ input.t }} at line 1, column 7: 'on 90m' is not an RFC 3339 time; "
            'write it like "2026-11-24T19:33:54Z" or "2026-11-24T20:33:54+01:00"',
        ),
    ],
)
def test_a_value_of_another_kind_is_an_error_of_the_expression(
    resolve: Callable[[], object], words: str
) -> None:
    with pytest.raises(ExpressionError) as failed:
        resolve()
    assert str(failed.value) == words
