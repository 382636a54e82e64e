"""Workflows whose steps are plain jobs: conditions, payloads from outputs, failures."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from flux.domain.errors import Unavailable
from flux.domain.job import ClaimedJob
from flux.domain.workflow.states import StepState, WorkflowState
from flux.engine.context import Context
from flux.engine.ports import StepView, Workflow
from tests.integration.workflows.conftest import House


def payload(ctx: Context) -> Any:
    return msgspec.json.decode(ctx.claimed.payload)


def by_name(run: Workflow) -> dict[str, StepView]:
    assert run.steps is not None
    return {step.name: step for step in run.steps}


def states(run: Workflow) -> dict[str, StepState]:
    return {name: step.state for name, step in by_name(run).items()}


ORDER = {
    "name": "order",
    "steps": {
        "charge": {"type": "charge", "payload": {"order": "${{ input.order_id }}"}},
        "label": {
            "type": "print",
            "when": "${{ steps.charge.output.total > 10 }}",
            "payload": {"text": "receipt ${{ steps.charge.output.receipt }} of ${{ workflow.name }}"},
        },
        "mail": {
            "type": "print",
            "needs": [{"step": "label", "on": "ended"}],
            "payload": {"text": "${{ steps.label.output }}", "state": "${{ steps.label.state }}"},
        },
    },
}


async def test_outputs_become_payloads_and_conditions(house: House) -> None:
    printed = []

    @house.handle("charge")
    async def charge(ctx: Context) -> Any:
        return {"total": payload(ctx)["order"], "receipt": f"r-{payload(ctx)['order']}"}

    @house.handle("print")
    async def print_(ctx: Context) -> Any:
        printed.append(payload(ctx))
        return payload(ctx)["text"]

    async with house.working():
        large = await house.ended(await house.start(ORDER, {"order_id": 11}))
        assert printed == [
            {"text": "receipt r-11 of order"},
            {"text": "receipt r-11 of order", "state": "succeeded"},
        ]
        printed.clear()
        small = await house.ended(await house.start(ORDER, {"order_id": 5}))
        assert printed == [{"text": None, "state": "skipped"}]
    assert large.state is WorkflowState.SUCCEEDED
    assert set(states(large).values()) == {StepState.SUCCEEDED}
    assert small.state is WorkflowState.SUCCEEDED
    assert states(small)["label"] is StepState.SKIPPED
    assert by_name(large)["label"].output == b'"receipt r-11 of order"'


async def test_an_expression_that_fails_fails_its_step_before_the_handler(house: House) -> None:
    called = []

    @house.handle("charge")
    async def charge(ctx: Context) -> Any:
        return {}

    @house.handle("print")
    async def print_(ctx: Context) -> None:
        called.append(ctx)

    async with house.working():
        run = await house.ended(await house.start(ORDER, {"order_id": 1}))
    assert len(called) == 1  # mail, to which label only had to end
    assert run.state is WorkflowState.FAILED
    label = by_name(run)["label"]
    assert (label.state, label.attempt) == (StepState.FAILED, 1)
    assert label.error is not None
    assert label.error.kind == "expression"
    assert "total" in label.error.message
    # mail asked for label to have ended, and then for its output.
    assert states(run)["mail"] is StepState.SUCCEEDED


def one(**step: Any) -> dict[str, Any]:
    return {"name": "w", "steps": {"first": {"type": "echo"}, "second": {"type": "echo", **step}}}


def echo(house: House, result: Any = None) -> list[Any]:
    """A handler that says what it was given."""
    given: list[Any] = []

    @house.handle("echo")
    async def echo(ctx: Context) -> Any:
        given.append(payload(ctx))
        return result

    return given


async def test_a_condition_must_be_true_or_false(house: House) -> None:
    echo(house, "yes")
    async with house.working():
        run = await house.ended(await house.start(one(when="${{ steps.first.output }}")))
    error = by_name(run)["second"].error
    assert error is not None
    assert error.kind == "expression"
    assert "must be true or false, and is a string" in error.message


async def test_a_resolved_payload_is_bounded_like_any_other(house: House) -> None:
    given = echo(house, "x" * 600_000)
    async with house.working():
        doubled = "${{ steps.first.output }}${{ steps.first.output }}"
        run = await house.ended(await house.start(one(payload={"text": doubled})))
    assert len(given) == 1
    error = by_name(run)["second"].error
    assert error is not None
    assert error.kind == "expression"


async def test_a_step_that_cannot_be_looked_up_now_is_handed_back(house: House) -> None:
    given = echo(house, 7)
    resolver, refusals = house.engine.steps, 2
    assert resolver is not None

    class Flaky:
        async def resolve(self, job: ClaimedJob) -> str | None:
            nonlocal refusals
            if job.step == 1 and refusals:
                refusals -= 1
                raise Unavailable("the store is away")
            return await resolver.resolve(job)

    house.engine.steps = Flaky()
    async with house.working():
        run = await house.ended(await house.start(one(payload={"n": "${{ steps.first.output }}"})))
    assert given == [{}, {"n": 7}]
    assert refusals == 0
    assert run.state is WorkflowState.SUCCEEDED
    assert by_name(run)["second"].attempt == 1


async def test_a_cancel_reaches_steps_that_run_and_starts_no_others(house: House) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    @house.handle("echo")
    async def hold(ctx: Context) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with house.working():
        id = await house.start(one(needs=["first"]))
        await begun.wait()
        await house.engine.store.workflows.cancel(id, "no more")
        run = await house.ended(id)
        assert ended.is_set()
    assert run.state is WorkflowState.CANCELLED
    assert set(states(run).values()) == {StepState.CANCELLED}


async def test_many_at_once_read_what_does_not_change_once(house: House) -> None:
    width, given = 40, echo(house, 3)
    reads = 0
    definition = house.engine.store.workflows.definition

    async def counted(id: str) -> bytes | None:
        nonlocal reads
        reads += 1
        return await definition(id)

    house.engine.store.workflows.definition = counted  # type: ignore[method-assign]
    steps: dict[str, Any] = {"first": {"type": "echo"}}
    for n in range(width):
        steps[f"s{n}"] = {"type": "echo", "payload": {"n": f"${{{{ steps.first.output + {n} }}}}"}}
    async with house.working():
        run = await house.ended(await house.start({"name": "w", "steps": steps}))
    assert run.state is WorkflowState.SUCCEEDED
    assert sorted(one["n"] for one in given if one) == [3 + n for n in range(width)]
    assert reads == 1


async def test_the_output_is_made_of_what_the_steps_gave(house: House) -> None:
    echo(house, {"n": 20})
    definition = one(needs=["first"]) | {
        "output": {"sum": "${{ steps.first.output.n + steps.second.output.n + input.n }}"}
    }
    async with house.working():
        run = await house.ended(await house.start(definition, {"n": 2}))
        wrong = await house.ended(await house.start(definition, {"m": 2}))
    assert (run.state, run.output) == (WorkflowState.SUCCEEDED, b'{"sum":42}')
    assert wrong.state is WorkflowState.FAILED
    assert wrong.error is not None
    assert wrong.error.kind == "expression"
    assert wrong.error.message.startswith("output: ")


async def test_a_broker_is_told_that_the_end_of_a_step_has_released_others(house: House) -> None:
    echo(house)
    pokes, poke = 0, house.engine.broker.poke

    async def counted() -> None:
        nonlocal pokes
        pokes += 1
        await poke()

    house.engine.broker.poke = counted  # type: ignore[method-assign]
    async with house.working():
        id = await house.start(one(needs=["first"]))
        begun = pokes
        await house.ended(id)
    assert pokes >= begun + 2
