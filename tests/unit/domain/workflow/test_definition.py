"""A definition: what is accepted, its shortest form, and every refusal by its words and place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flux.domain.errors import Invalid
from flux.domain.workflow.definition import (
    MAX_ITEMS,
    MAX_STEPS,
    Condition,
    Definition,
    JobStep,
    Need,
    OnFailure,
    digest,
    dump_definition,
)
from flux.domain.workflow.parse import parse_definition, read_definition
from flux.domain.workflow.refusals import MOST

ORDER: dict[str, Any] = {
    "name": "order",
    "input": {"order_id": 42},
    "steps": {
        "charge": {"type": "charge_card", "payload": {"order": "${{ input.order_id }}"}},
        "pick": {"type": "pick_items", "needs": ["charge"], "max_retries": 5},
        "label": {
            "type": "print_label",
            "needs": ["charge"],
            "when": "${{ steps.charge.output.total > 0.0 }}",
            "payload": {"receipt": "${{ steps.charge.output.receipt }}"},
        },
        "notify": {
            "type": "email",
            "needs": ["pick", "label"],
            "for_each": "${{ steps.pick.output.parcels }}",
            "max_parallel": 10,
            "payload": {"parcel": "${{ item.id }}"},
        },
        "approve": {"wait_for": "signal", "signal": "manager_ok", "needs": ["pick"], "timeout": "24h"},
        "cool": {"wait_for": "time", "delay": "1h", "needs": ["approve"]},
        "child": {"workflow": "refund@2", "needs": ["approve"], "input": {"id": "${{ input.order_id }}"}},
    },
    "output": {"receipt": "${{ steps.charge.output.receipt }}", "parcels": "${{ steps.notify.output }}"},
    "on_exit": {"type": "cleanup", "payload": {"status": "${{ workflow.state }}"}},
    "timeout": "2d",
    "max_parallel": 50,
}


def one(**step: Any) -> dict[str, Any]:
    """A workflow of one step."""
    return {"name": "w", "steps": {"a": step}}


def refusals(value: object) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        parse_definition(value)
    return [(error.field, error.message) for error in refused.value.errors]


def test_the_example_of_the_contract() -> None:
    definition = parse_definition(ORDER)
    assert list(definition.steps) == list(ORDER["steps"])
    assert definition.steps["approve"].kind == "signal"
    assert definition.steps["child"].kind == "workflow"
    assert dump_definition(definition) == ORDER | {
        "steps": ORDER["steps"] | {"approve": ORDER["steps"]["approve"] | {"timeout": "1d"}}
    }


def test_it_comes_back_from_its_dump_and_from_json() -> None:
    definition = parse_definition(ORDER)
    assert parse_definition(dump_definition(definition)) == definition
    assert read_definition(msgspec.json.encode(dump_definition(definition))) == definition


def test_what_means_the_same_is_written_the_same() -> None:
    long: dict[str, Any] = {
        "name": "w",
        "on_failure": "finish_independent",
        "timeout": 86_400,
        "steps": {
            "a": {
                "type": "t",
                "queue": None,
                "max_retries": 3,
                "delay": "60s",
                "backoff": ["60s"],
                "workflow": None,
            },
            "b": {
                "type": "t",
                "needs": [
                    {"step": "a", "on": ["ended", "failed"]},
                    {"step": "c", "on": "succeeded"},
                    {"step": "d", "on": ["skipped", "succeeded", "skipped"]},
                ],
            },
            "c": {"type": "t", "payload": {}},
            "d": {"type": "t", "payload": {"y": 1, "x": 2}},
        },
    }
    del long["steps"]["a"]["workflow"]
    definition = parse_definition(long)
    assert dump_definition(definition) == {
        "name": "w",
        "timeout": "1d",
        "steps": {
            "a": {"type": "t", "delay": "1m", "backoff": ["1m"]},
            "b": {
                "type": "t",
                "needs": [{"step": "a", "on": "ended"}, "c", {"step": "d", "on": ["succeeded", "skipped"]}],
            },
            "c": {"type": "t"},
            "d": {"type": "t", "payload": {"y": 1, "x": 2}},
        },
    }
    assert parse_definition(dump_definition(definition)) == definition


def test_a_digest_names_what_was_defined() -> None:
    first = parse_definition(ORDER)
    again = parse_definition({**ORDER, "input": dict(reversed(ORDER["input"].items())), "timeout": "48h"})
    assert digest(first) == digest(again)
    assert len(digest(first)) == 32
    assert digest(parse_definition({**ORDER, "timeout": "49h"})) != digest(first)
    turned = {**ORDER, "steps": dict(reversed(ORDER["steps"].items()))}
    assert digest(parse_definition(turned)) != digest(first)


def test_needs_as_the_model_has_them() -> None:
    given = {
        "name": "w",
        "on_failure": "fail_fast",
        "steps": {"a": {"type": "t"}, "b": {"type": "t", "needs": [{"step": "a", "on": "failed"}]}},
    }
    definition: Definition = parse_definition(given)
    assert definition.on_failure is OnFailure.FAIL_FAST
    assert definition.steps["b"].needs == (Need("a", Condition.FAILED),)


def test_payloads_hold_what_json_gives_back() -> None:
    step = parse_definition(one(type="t", payload={"t": (1, 2), 3: "x"})).steps["a"]
    assert isinstance(step, JobStep)
    assert step.payload == {"t": [1, 2], "3": "x"}


STEP_FIELDS = (
    "type, payload, queue, priority, timeout, max_retries, backoff, tags, headers, expires_in, needs, when, "
)
STEP_FIELDS += "continue_on_failure, delay, unique, for_each, item_when, max_parallel, fail_fast, memo"
NAME = "begins with a letter or digit, goes on with letters, digits and _ . : / -, at most {} characters"
DURATION = 'write it like "30s", "5m", "1h30m" or "250ms", or as a number of seconds'


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        (None, "definition", "must be an object with at least a name and steps"),
        ([], "definition", "must be an object with at least a name and steps"),
        ({"steps": {"a": {"type": "t"}}}, "name", "is required in a workflow"),
        ({"name": 5, "steps": {"a": {"type": "t"}}}, "name", "expected `string`, got `integer`"),
        ({"name": "a b", "steps": {"a": {"type": "t"}}}, "name", f"a name {NAME.format(200)}"),
        ({"name": "w"}, "steps", "is required: an object with a step for each name"),
        ({"name": "w", "steps": {}}, "steps", "must have at least one step"),
        (
            {"name": "w", "steps": ["a"]},
            "steps",
            "must be an object with a step for each name, such as {charge: {type: charge_card}}",
        ),
        (
            {"name": "w", "steps": {f"s{i}": {"type": "t"} for i in range(MAX_STEPS + 1)}},
            "steps",
            "has 10001 steps; a workflow has at most 10000",
        ),
        ({**one(type="t"), "stepz": 1}, "stepz", "is not a field of a workflow; did you mean steps?"),
        (
            {**one(type="t"), "on_failure": "stop"},
            "on_failure",
            "must be one of fail_fast, finish_independent",
        ),
        ({**one(type="t"), "max_parallel": 0}, "max_parallel", "must be at least 1"),
        ({**one(type="t"), "timeout": "2 days"}, "timeout", f"'2 days' is not a duration; {DURATION}"),
        ({**one(type="t"), "priority": 11}, "priority", "must be between 1 and 10; 10 runs first"),
        ({**one(type="t"), "on_exit": {}}, "on_exit.type", "is required in on_exit"),
        ({**one(type="t"), "on_exit": "x"}, "on_exit", "must be an object"),
        (
            {**one(type="t"), "on_exit": {"type": "t", "queue": "!"}},
            "on_exit.queue",
            f"a queue {NAME.format(100)}",
        ),
        ({"name": "w", "steps": {"a": 1}}, "steps.a", "must be an object with type, workflow or wait_for"),
        (
            {"name": "w", "steps": {"1a": {"type": "t"}}},
            "steps.1a",
            "a step's name begins with a letter or _, goes on with letters, digits and _ . -, at most 100 characters",
        ),
        (
            one(payload={}),
            "steps.a",
            "has none of type, workflow and wait_for; give one: type for a job, workflow for another workflow, "
            "wait_for: signal or time",
        ),
        (
            one(type="t", workflow="w"),
            "steps.a",
            "has type and workflow; give one: type for a job, workflow for another workflow, wait_for: signal or time",
        ),
        (one(wait_for="rain"), "steps.a.wait_for", "must be signal or time"),
        (one(wait_for="signal"), "steps.a.signal", "is required in a step with wait_for"),
        (one(wait_for="signal", signal="a b"), "steps.a.signal", f"a signal {NAME.format(200)}"),
        (one(wait_for="time"), "steps.a.delay", "give one of delay and until"),
        (
            one(wait_for="time", delay="1h", until="2026-11-24T19:33:54Z"),
            "steps.a.delay",
            "give one of delay and until",
        ),
        (one(wait_for="time", delay="0s"), "steps.a.delay", "must be positive"),
        (
            one(wait_for="time", until="noon"),
            "steps.a.until",
            "'noon' is not an RFC 3339 time; "
            'write it like "2026-11-24T19:33:54Z" or "2026-11-24T20:33:54+01:00"',
        ),
        (
            one(workflow="refund@x"),
            "steps.a.workflow",
            "must be a workflow's name, with its version if you like: refund@2",
        ),
        (one(type="t", needz=[]), "steps.a.needz", "is not a field of a step with type; did you mean needs?"),
        (
            one(type="t", zzz=1),
            "steps.a.zzz",
            f"is not a field of a step with type; the fields are {STEP_FIELDS}",
        ),
        (one(type="a b"), "steps.a.type", f"a type {NAME.format(200)}"),
        (one(type="t", max_retries=-1), "steps.a.max_retries", "must be between 0 and 1000"),
        (one(type="t", max_retries="3"), "steps.a.max_retries", "expected `integer`, got `string`"),
        (one(type="t", timeout="-1s"), "steps.a.timeout", "must be positive"),
        (one(type="t", timeout="1x"), "steps.a.timeout", f"'1x' is not a duration; {DURATION}"),
        (
            one(type="t", backoff={"kind": "x"}),
            "steps.a.backoff.kind",
            "must be one of exponential, linear, constant, list",
        ),
        (one(type="t", tags=["a", ""]), "steps.a.tags[1]", "a tag has 1 to 100 characters, none of them NUL"),
        (
            one(type="t", unique={"by": ["size"]}),
            "steps.a.unique.by",
            "'size' is not one of type, queue, payload, payload.<path>",
        ),
        (
            one(type="t", payload={"x": "\0"}),
            "steps.a.payload",
            "has a NUL character, which no store can keep",
        ),
        (
            one(type="t", payload={"x": float("nan")}),
            "steps.a.payload",
            "cannot be kept as JSON: NaN and infinity have no form in JSON",
        ),
        (one(type="t", for_each=3), "steps.a.for_each", "expected `string | array | null`, got `integer`"),
        (
            one(type="t", for_each=[0] * (MAX_ITEMS + 1)),
            "steps.a.for_each",
            "has 100001 items; a fan-out has at most 100000",
        ),
        (
            one(type="t", for_each="all"),
            "steps.a.for_each",
            "must be one expression with nothing around it: ${{ ... }}",
        ),
        (one(type="t", fail_fast=True), "steps.a.fail_fast", "needs for_each"),
        (one(type="t", max_parallel=2), "steps.a.max_parallel", "needs for_each"),
        (one(type="t", item_when="${{ true }}"), "steps.a.item_when", "needs for_each"),
        (one(type="t", for_each=[1], max_parallel=0), "steps.a.max_parallel", "must be at least 1"),
        (one(type="t", memo={"ttl": "1d"}), "steps.a.memo", "object missing required field `key`"),
        (one(type="t", memo={"key": "k", "ttl": "0s"}), "steps.a.memo.ttl", "must be positive"),
        (
            one(type="t", needs=[{"step": "a", "on": "late"}]),
            "steps.a.needs[0].on",
            "must be one of succeeded, failed, skipped, cancelled, ended",
        ),
        (
            one(type="t", needs=[{"step": "a", "on": []}]),
            "steps.a.needs[0].on",
            "names at least one of succeeded, failed, skipped, cancelled, ended",
        ),
        (one(type="t", needs="a"), "steps.a.needs", "expected `array`, got `string`"),
    ],
)
def test_refused_at_the_door(value: object, field: str, words: str) -> None:
    assert refusals(value) == [(field, words)]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = refusals(
        {
            "name": "w",
            "timeout": "x",
            "steps": {
                "a": {"type": "t", "priority": 0, "queue": "!", "needs": ["zz"]},
                "b": {"type": "t", "needs": ["a", "c", "nobody"], "zzz": 1},
                "c": {"wait_for": "x"},
                "d": {"type": "t", "needs": ["c", "nobody"]},
            },
        }
    )
    assert [field for field, _ in found] == [
        "steps.a.queue",
        "steps.a.priority",
        "steps.b.zzz",
        "steps.c.wait_for",
        "timeout",
        "steps.a.needs[0]",
        "steps.d.needs[1]",
    ]


def test_after_a_hundred_refusals_it_is_enough() -> None:
    found = refusals({"name": "w", "steps": {f"s{i}": {"type": "t", "zzz": 1} for i in range(1_000)}})
    assert len(found) == MOST + 1
    assert found[-1] == ("definition", "has more to mend than these 100")


def test_a_definition_of_too_many_bytes_is_not_looked_at() -> None:
    with pytest.raises(Invalid) as refused:
        read_definition(b"{" + b" " * 100, most=100)
    assert [(error.field, error.message) for error in refused.value.errors] == [
        ("definition", "has 101 bytes; the limit is 100 (FLUX_MAX_DEFINITION)")
    ]


def test_nesting_without_end() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    assert refusals(one(type="t", payload=deep)) == [("steps.a.payload", "is nested deeper than 100 levels")]
    with pytest.raises(Invalid, match="nested"):
        read_definition(b'{"name": ' + b"[" * 100_000)
