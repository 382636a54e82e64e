"""Workflows over REST: their whole life as a client sees it, and every refusal in words."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from flux.engine.context import Context
from tests.integration.api.conftest import JOBS, Rest, fields, handler, problem

WORKFLOWS = "/api/v1/workflows"
ORDER: dict[str, Any] = {
    "name": "order",
    "input": {"order_id": 42},
    "steps": {
        "charge": {"type": "echo", "payload": {"order": "${{ input.order_id }}"}},
        "label": {
            "type": "echo",
            "when": "${{ steps.charge.output.order > 10 }}",
            "payload": {"text": "order ${{ steps.charge.output.order }}"},
        },
        "notify": {"type": "echo", "needs": ["label"], "payload": {"to": "me"}},
    },
    "output": {"label": "${{ steps.label.output.text }}"},
}


async def _echo(context: Context) -> Any:
    return msgspec.json.decode(context.claimed.payload)


echo = handler("echo", _echo)


async def start(rest: Rest, definition: dict[str, Any] = ORDER, **fields: Any) -> dict[str, Any]:
    """A run that must be accepted."""
    answer = await rest.client.post(WORKFLOWS, json=definition | fields)
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{WORKFLOWS}/{run['id']}"
    return run


async def ended(rest: Rest, id: str) -> dict[str, Any]:
    """A run, once it has ended."""
    answer = await rest.client.get(f"{WORKFLOWS}/{id}/wait", params={"timeout": "1m"})
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def test_a_run_from_its_creation_to_its_output(rest: Rest) -> None:
    run = await start(rest)
    assert (run["state"], run["name"], run["input"], run["output"]) == (
        "running",
        "order",
        {"order_id": 42},
        None,
    )
    charge, label, notify = run["steps"]
    assert (charge["name"], charge["state"], charge["needs"], charge["attempt"]) == (
        "charge",
        "available",
        [],
        0,
    )
    assert (label["state"], label["needs"], label["job_id"], label["started_at"]) == (
        "blocked",
        ["charge"],
        None,
        None,
    )
    assert label["waiting_for"] == {
        "kind": "needs",
        "text": "It waits for charge (available).",
        "needs": ["charge"],
    }
    assert notify["needs"] == ["label"]
    async with rest.running(echo):
        done = await ended(rest, run["id"])
    assert (done["state"], done["output"], done["error"]) == ("succeeded", {"label": "order 42"}, None)
    assert [step["state"] for step in done["steps"]] == ["succeeded"] * 3
    assert [step["output"] for step in done["steps"]] == [{"order": 42}, {"text": "order 42"}, {"to": "me"}]
    assert done["created_at"] <= done["started_at"] <= done["finished_at"]
    assert all(step["waiting_for"] is None and step["attempt"] == 1 for step in done["steps"])
    job = (await rest.client.get(f"{JOBS}/{done['steps'][1]['job_id']}")).json()
    assert (job["workflow_id"], job["step"], job["state"]) == (run["id"], "label", "succeeded")
    listed = (await rest.client.get(JOBS, params={"workflow_id": run["id"]})).json()["jobs"]
    assert {job["step"] for job in listed} == {"charge", "label", "notify"}


async def test_a_false_condition_skips_what_follows(rest: Rest) -> None:
    async with rest.running(echo):
        done = await ended(
            rest, (await start(rest, input={"order_id": 3}, output="${{ steps.label.output }}"))["id"]
        )
    assert (done["state"], done["output"]) == ("succeeded", None)
    assert [step["state"] for step in done["steps"]] == ["succeeded", "skipped", "skipped"]
    assert done["steps"][1]["output"] is None


async def test_a_step_that_fails_fails_the_run(rest: Rest) -> None:
    async def broken(_: Context) -> None:
        raise ValueError("no paper")

    steps = {
        "print": {"type": "print", "max_retries": 0},
        "after": {"type": "echo", "needs": ["print"]},
        "anyway": {"type": "echo", "needs": [{"step": "print", "on": "ended"}]},
    }
    async with rest.running(echo, handler("print", broken)):
        done = await ended(rest, (await start(rest, {"name": "w", "steps": steps}))["id"])
        steps["print"]["continue_on_failure"] = True
        tolerant = await ended(rest, (await start(rest, {"name": "w", "steps": steps}))["id"])
    assert done["state"] == "failed"
    by_name = {step["name"]: step for step in done["steps"]}
    assert (by_name["print"]["state"], by_name["print"]["error"]["message"]) == (
        "failed",
        "ValueError: no paper",
    )
    assert (by_name["after"]["state"], by_name["anyway"]["state"]) == ("skipped", "succeeded")
    assert tolerant["state"] == "succeeded"


async def test_a_cancel_ends_what_waits_and_what_runs(rest: Rest) -> None:
    begun = asyncio.Event()

    async def hold(_: Context) -> None:
        begun.set()
        await asyncio.Event().wait()

    definition = {"name": "w", "steps": {"a": {"type": "hold"}, "b": {"type": "echo", "needs": ["a"]}}}
    async with rest.running(echo, handler("hold", hold)):
        run = await start(rest, definition)
        await begun.wait()
        answer = await rest.client.request(
            "DELETE", f"{WORKFLOWS}/{run['id']}", json={"reason": "ordered twice"}
        )
        assert answer.status_code == 200
        assert answer.json()["cancel_requested"] is True
        done = await ended(rest, run["id"])
        assert done["state"] == "cancelled"
        assert [step["state"] for step in done["steps"]] == ["cancelled", "cancelled"]
        again = await rest.client.delete(f"{WORKFLOWS}/{run['id']}")
    assert "cancelled" in problem(again, 409)["detail"]


async def test_lists_filters_and_pages(rest: Rest) -> None:
    first, second = await start(rest), await start(rest, name="other")
    listed = (await rest.client.get(WORKFLOWS, params={"limit": 1})).json()
    assert [run["id"] for run in listed["workflows"]] == [second["id"]]
    assert "steps" not in listed["workflows"][0]
    older = (await rest.client.get(WORKFLOWS, params={"cursor": listed["next_cursor"]})).json()
    assert [run["id"] for run in older["workflows"]] == [first["id"]]
    assert older["next_cursor"] is None
    named = (await rest.client.get(WORKFLOWS, params={"name": "order", "state": "running"})).json()
    assert [run["id"] for run in named["workflows"]] == [first["id"]]
    assert (await rest.client.get(WORKFLOWS, params={"state": "failed"})).json()["workflows"] == []
    without = (await rest.client.get(f"{WORKFLOWS}/{first['id']}", params={"steps": "false"})).json()
    assert "steps" not in without
    pages = f"{WORKFLOWS}/{first['id']}/steps"
    page = (await rest.client.get(pages, params={"limit": 2})).json()
    assert [step["name"] for step in page["steps"]] == ["charge", "label"]
    rest_of = (await rest.client.get(pages, params={"cursor": page["next_cursor"]})).json()
    assert ([step["name"] for step in rest_of["steps"]], rest_of["next_cursor"]) == (["notify"], None)
    blocked = (await rest.client.get(pages, params={"state": "blocked"})).json()
    assert [step["name"] for step in blocked["steps"]] == ["label", "notify"]


async def test_one_that_waits_is_told_how_the_run_stands(rest: Rest) -> None:
    run = await start(rest)
    answer = await rest.client.get(f"{WORKFLOWS}/{run['id']}/wait", params={"timeout": "0s"})
    assert answer.status_code == 202
    assert answer.json()["state"] == "running"


async def test_everything_that_is_wrong_is_named_at_once_and_nothing_is_stored(rest: Rest) -> None:
    definition = {
        "name": "w",
        "steps": {
            "a": {"type": "echo", "needs": ["b"]},
            "b": {"type": "echo", "needs": ["a"]},
            "c": {"payload": {}},
            "d": {"type": "echo", "payload": {"x": "${{ steps.nobody.output }}"}},
            "e": {"type": "echo", "payload": {"x": "${{ 1 + }}"}},
        },
    }
    refused = problem(await rest.client.post(WORKFLOWS, json=definition), 422)
    assert {"steps.c", "steps.d.payload.x", "steps.e.payload.x"} <= fields(refused)
    assert (await rest.client.get(WORKFLOWS)).json()["workflows"] == []
    cycle = {"name": "w", "steps": {name: definition["steps"][name] for name in ("a", "b")}}  # type: ignore[index]
    assert "a -> b -> a" in problem(await rest.client.post(WORKFLOWS, json=cycle), 422)["detail"]


@pytest.mark.parametrize(
    ("extra", "at"),
    [
        ({"timeout": "1h"}, "timeout"),
        ({"steps": {"a": {"type": "echo", "for_each": [1]}}}, "steps.a.for_each"),
        ({"steps": {"a": {"wait_for": "signal", "signal": "ok"}}}, "steps.a"),
        ({"steps": {"a": {"workflow": "refund"}}}, "steps.a"),
    ],
)
async def test_what_cannot_be_run_yet_is_said(rest: Rest, extra: dict[str, Any], at: str) -> None:
    answer = await rest.client.post(WORKFLOWS, json={"name": "w", "steps": {"a": {"type": "echo"}}} | extra)
    refused = problem(answer, 422)
    assert fields(refused) == {at}
    assert "cannot be run yet" in refused["detail"]


async def test_what_is_no_workflow_is_not_found(rest: Rest) -> None:
    for path in ("", "/steps", "/wait"):
        problem(await rest.client.get(f"{WORKFLOWS}/01936a3e-7b1c-7c3e-9a5e-2f4b6d8e0a1c{path}"), 404)
    problem(await rest.client.get(f"{WORKFLOWS}/nonsense"), 404)
    problem(await rest.client.delete(f"{WORKFLOWS}/nonsense"), 404)
    problem(await rest.client.get(WORKFLOWS, params={"state": "odd"}), 422)
    problem(
        await rest.client.post(WORKFLOWS, content=b"[1]", headers={"content-type": "application/json"}), 422
    )
