"""The JSON Schema: an editor accepts what the parser accepts, and marks what it would refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from flux.domain.workflow.definition import dump_definition
from flux.domain.workflow.parse import parse_definition
from flux.domain.workflow.schema import definition_schema
from tests.unit.domain.workflow.test_any_definition import SLOWLY, graphs
from tests.unit.domain.workflow.test_definition import ORDER

EDITOR = Draft202012Validator(definition_schema())


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(definition_schema())


def test_the_example_of_the_contract() -> None:
    EDITOR.validate(ORDER)
    EDITOR.validate(dump_definition(parse_definition(ORDER)))


@SLOWLY
@given(graphs())
def test_what_is_accepted(value: dict[str, Any]) -> None:
    EDITOR.validate(value)
    EDITOR.validate(dump_definition(parse_definition(value)))


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("name", 1),
        ("steps", {}),
        ("stepz", {}),
        ("on_failure", "stop"),
        ("max_parallel", 0),
        ("steps.1a", {"type": "t"}),
        ("steps.charge", {"payload": {}}),
        ("steps.charge.needz", []),
        ("steps.charge.priority", 11),
        ("steps.pick.needs", [{"step": "charge", "on": "late"}]),
        ("steps.approve.wait_for", "rain"),
        ("steps.cool.delay", []),
        ("on_exit.needs", ["charge"]),
    ],
)
def test_what_an_editor_marks(place: str, wrong: object) -> None:
    value: Any = copy.deepcopy(ORDER)
    *path, last = place.split(".")
    inner = value
    for key in path:
        inner = inner[key]
    inner[last] = wrong
    assert not EDITOR.is_valid(value)


def test_every_field_says_what_it_is_for() -> None:
    schema = definition_schema()
    ours = ("JobStep", "SignalStep", "TimeStep", "ChildStep", "ExitJob", "Need")
    named_elsewhere = {"wait_for", "memo", "on_exit"}
    for part in (schema, *(schema["$defs"][name] for name in ours)):
        silent = {name for name, field in part["properties"].items() if "description" not in field}
        assert silent <= named_elsewhere
