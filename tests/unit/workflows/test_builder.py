"""The builder makes the very definition that JSON and YAML give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flux import Flux
from flux.domain.errors import Invalid
from flux.domain.workflow.definition import digest, dump_definition
from flux.domain.workflow.parse import parse_definition
from flux.domain.workflow.scope import Scope, StepView
from flux.domain.workflow.template import fill
from flux.workflows.builder import Workflow
from flux.workflows.values import contains

flux = Flux("sqlite:///:memory:")


@dataclass
class OrderInput:
    order_id: int


@dataclass
class Receipt:
    total: float
    receipt: str


@dataclass
class Parcels:
    parcels: list[dict[str, str]]


@flux.job
async def charge_card(order: int) -> Receipt:
    raise NotImplementedError


@flux.job(max_retries=5)
async def pick_items(order: int | None = None) -> Parcels:
    raise NotImplementedError


@flux.job
async def print_label(receipt: str) -> None:
    raise NotImplementedError


@flux.job
async def email(parcel: str, text: str = "", index: int = 0) -> str:
    raise NotImplementedError


@flux.job
async def cleanup(status: str) -> None:
    raise NotImplementedError


ORDER = """
name: order
steps:
  charge:  {type: charge_card, payload: {order: "${{ input.order_id }}"}}
  pick:    {type: pick_items,  needs: [charge], max_retries: 5}
  label:
    type: print_label
    needs: [charge]
    when: "${{ steps.charge.output.total > 0.0 }}"
    payload: {receipt: "${{ steps.charge.output.receipt }}"}
  notify:
    type: email
    needs: [pick, label]
    for_each: "${{ steps.pick.output.parcels }}"
    max_parallel: 10
    payload: {parcel: "${{ item.id }}"}
  approve: {wait_for: signal, signal: manager_ok, needs: [pick], timeout: 24h}
  cool:    {wait_for: time, delay: 1h, needs: [approve]}
  child:   {workflow: refund@2, needs: [approve], input: {id: "${{ input.order_id }}"}}
output: {receipt: "${{ steps.charge.output.receipt }}", parcels: "${{ steps.notify.output }}"}
on_exit: {type: cleanup, payload: {status: "${{ workflow.state }}"}}
timeout: 2d
max_parallel: 50
"""


def order() -> Workflow:
    """The same in Python."""
    wf = Workflow("order", input=OrderInput, timeout="2d", max_parallel=50)
    charge = wf.step("charge", charge_card.request(order=wf.input.order_id))
    pick = wf.step("pick", pick_items.request(), needs=[charge])
    label = wf.step(
        "label", print_label.request(charge.output.receipt), needs=[charge], when=charge.output.total > 0.0
    )
    notify = wf.for_each(
        "notify",
        over=pick.output.parcels,
        do=lambda item: email.request(parcel=item.id),
        needs=[pick, label],
        max_parallel=10,
    )
    approve = wf.signal("approve", "manager_ok", timeout="24h", needs=[pick])
    wf.wait("cool", delay="1h", needs=[approve])
    wf.child("child", "refund@2", {"id": wf.input.order_id}, needs=[approve])
    wf.returns({"receipt": charge.output.receipt, "parcels": notify.output})
    wf.on_exit(cleanup.request(status=wf.state))
    return wf


def test_the_contracts_example_is_the_same_in_yaml_and_in_python() -> None:
    written = parse_definition(yaml.safe_load(ORDER))
    assert dump_definition(order().definition) == dump_definition(written)
    assert digest(order().definition) == digest(written)


def test_what_it_makes_is_read_back_as_it_is() -> None:
    plain = order().to_dict()
    assert dump_definition(parse_definition(plain)) == plain


def test_needs_may_say_how_a_step_has_to_end() -> None:
    wf = Workflow("w")
    charge = wf.step("charge", charge_card.request(1))
    wf.step("undo", cleanup.request(status=charge.state), needs=[charge.on("failed", "cancelled")])
    wf.step("always", cleanup.request(status="x"), needs=[charge.on("ended")], continue_on_failure=True)
    steps = wf.to_dict()["steps"]
    assert steps["undo"]["needs"] == [{"step": "charge", "on": ["failed", "cancelled"]}]
    assert steps["always"]["needs"] == [{"step": "charge", "on": "ended"}]
    assert steps["always"]["continue_on_failure"] is True


def test_options_of_the_job_become_options_of_the_step() -> None:
    wf = Workflow("w", queue="orders", priority=7, tags=["shop"])
    asked = charge_card.options(
        queue="cards", priority=9, timeout="5s", max_retries=1, backoff=["1s"], tags=["x"], delay="1m"
    )
    wf.step("charge", asked.request(1), memo=f"card-{wf.input.id}", memo_ttl="1d")
    plain = wf.to_dict()
    assert (plain["queue"], plain["priority"], plain["tags"]) == ("orders", 7, ["shop"])
    step = plain["steps"]["charge"]
    assert (step["queue"], step["priority"], step["timeout"], step["max_retries"]) == ("cards", 9, "5s", 1)
    assert (step["tags"], step["delay"], step["memo"]) == (
        ["x"],
        "1m",
        {"key": "card-${{ input.id }}", "ttl": "1d"},
    )
    assert parse_definition(plain) == wf.definition


def test_items_have_an_index_and_a_condition_of_their_own() -> None:
    wf = Workflow("w")
    wf.for_each(
        "mail",
        over=["a", "b"],
        do=lambda item, index: email.request(item, index=index),
        item_when=lambda item: contains(["a"], item),
        fail_fast=True,
    )
    step = wf.to_dict()["steps"]["mail"]
    assert step["for_each"] == ["a", "b"]
    assert step["payload"] == {"parcel": "${{ item }}", "index": "${{ index }}"}
    assert step["item_when"] == '${{ item in ["a"] }}'
    assert step["fail_fast"] is True


def test_fields_are_checked_by_what_handlers_return() -> None:
    wf = Workflow("w", input=OrderInput)
    charge = wf.step("charge", charge_card.request(wf.input.order_id))
    with pytest.raises(AttributeError, match=r"steps.charge.output is a Receipt and has no sum"):
        _ = charge.output.sum
    with pytest.raises(AttributeError, match=r"OrderInput and has no id"):
        _ = wf.input.id


class TestTexts:
    """Values in texts are filled in; nothing else in a text is taken for an expression."""

    @staticmethod
    def payload(text: Any) -> Any:
        wf = Workflow("w")
        charge = wf.step("charge", charge_card.request(1))
        wf.step("mail", email.request("p", text=text(charge)))
        payload = wf.to_dict()["steps"]["mail"]["payload"]["text"]
        outputs = {"charge": StepView("succeeded", {"total": 5, "receipt": "r-1"})}
        return fill(payload, Scope(steps=outputs))

    def test_an_f_string(self) -> None:
        found = self.payload(lambda charge: f"{charge.output.receipt}: {charge.output.total + 1} EUR")
        assert found == "r-1: 6 EUR"

    @given(st.text(st.sampled_from("${} a'\"\\"), max_size=12))
    def test_what_looks_like_an_expression_and_is_none(self, text: str) -> None:
        assert self.payload(lambda _: text) == text
        assert self.payload(lambda charge: f"{text}{charge.output.receipt}{text}") == f"{text}r-1{text}"
        # Inside of an expression it is a string of that.
        assert self.payload(lambda charge: charge.output.receipt + text) == f"r-1{text}"


def test_a_step_of_the_same_name_is_refused() -> None:
    wf = Workflow("w")
    wf.step("charge", charge_card.request(1))
    with pytest.raises(Invalid, match=r"steps.charge: there is a step of this name already"):
        wf.step("charge", charge_card.request(1))


def test_what_is_for_jobs_of_their_own_is_refused() -> None:
    wf = Workflow("w")
    with pytest.raises(Invalid) as refused:
        wf.step("charge", charge_card.options(cron="0 3 * * *", idempotency_key="k").request(1))
    assert [error.field for error in refused.value.errors] == [
        "steps.charge.idempotency_key",
        "steps.charge.cron",
    ]


def test_a_condition_that_python_has_decided_already_is_refused() -> None:
    wf = Workflow("w")
    with pytest.raises(Invalid, match=r"steps.charge.when: must be a value of the workflow"):
        wf.step("charge", charge_card.request(1), when=True)  # type: ignore[arg-type]


def test_the_definition_is_checked_like_any_other() -> None:
    wf = Workflow("w")
    wf.step("a", charge_card.request(1), needs=["b"])
    wf.step("b", charge_card.request(1), needs=["a", "c"])
    with pytest.raises(Invalid) as refused:
        _ = wf.definition
    said = str(refused.value)
    assert "c" in said
