"""A durable function is replayed to where its history ends; what differs is told and touches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from flux.workflows.errors import CallFailed, CallTimedOut, ForeignAwait, WorkflowCancelled
from flux.workflows.function_context import WorkflowContext
from flux.workflows.history import Call, CallError, CancelAsked, Ended, History, Kind
from flux.workflows.replay import MOST, Advance, Replay, Stand

DAY = 86_400_000_000


class Job:
    """A handler, as far as a durable function sees it."""

    def __init__(self, type: str) -> None:
        self.type = type

    def call(self, **payload: Any) -> tuple[str, Any, Callable[[bytes], Any]]:
        return self.type, payload, msgspec.json.decode


charge, ship, refund = Job("charge"), Job("ship"), Job("refund")


class Run:
    """A run whose calls somebody ends."""

    def __init__(self, function: Callable[..., Any], **arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.history = History("01-run", DAY)
        self.at = DAY

    def replay(self) -> Advance:
        """Where today's code comes to."""
        replay = Replay(self.history)
        return replay.run(lambda: self.function(WorkflowContext(replay), **self.arguments))

    def go(self) -> Advance:
        """Replay, and record what it asks for."""
        advance = self.replay()
        self.history.calls += advance.calls
        return advance

    def end(self, number: int, value: Any = None, error: CallError | None = None) -> Advance:
        """A call ends a second later; go on."""
        self.at += 1_000_000
        self.history.events.append(Ended(number, self.at, msgspec.json.encode(value), error))
        return self.go()


def asked(advance: Advance) -> list[str]:
    return [str(call) for call in advance.calls]


async def order(ctx: WorkflowContext, order_id: int) -> dict[str, Any]:
    receipt = await ctx.run(charge, order=order_id)
    parcels = await ctx.gather(*(ctx.run(ship, item=item) for item in receipt["items"]))
    ok = await ctx.signal("manager_ok", timeout="24h")
    await ctx.sleep("1h")
    return {"receipt": receipt["id"], "parcels": parcels, "ok": ok}


def test_it_goes_on_from_answer_to_answer_and_asks_for_nothing_twice() -> None:
    run = Run(order, order_id=42)
    assert asked(run.go()) == ['run charge {"order":42}']
    assert run.go() == Advance(Stand.WAITING, open=[0])
    advance = run.end(0, {"id": 7, "items": ["a", "b"]})
    assert asked(advance) == ['run ship {"item":"a"}', 'run ship {"item":"b"}']
    assert run.end(2, "B") == Advance(Stand.WAITING, open=[1])
    assert asked(run.end(1, "A")) == ["signal manager_ok 86400000000"]
    assert asked(run.end(3, True)) == ["sleep 3600000000"]
    assert run.end(4) == Advance(Stand.SUCCEEDED, value={"receipt": 7, "parcels": ["A", "B"], "ok": True})
    assert run.replay().stand is Stand.SUCCEEDED


def test_what_failed_is_raised_where_it_is_awaited_and_may_be_mended() -> None:
    async def saga(ctx: WorkflowContext) -> str:
        await ctx.run(charge)
        try:
            await ctx.run(ship)
        except CallFailed as error:
            await ctx.run(refund, why=error.message)
            return error.kind
        return "shipped"

    run = Run(saga)
    run.go()
    run.end(0)
    assert asked(run.end(1, error=CallError("exception", "no stamps"))) == ['run refund {"why":"no stamps"}']
    assert run.end(2) == Advance(Stand.SUCCEEDED, value="exception")


def test_a_signal_that_does_not_come_is_a_timeout() -> None:
    async def approval(ctx: WorkflowContext) -> str:
        try:
            return str(await ctx.signal("ok", timeout="1d"))
        except TimeoutError as error:
            return type(error).__name__

    run = Run(approval)
    run.go()
    assert run.end(0, error=CallError("timeout", "no signal came")).value == CallTimedOut.__name__


def test_a_failure_that_nobody_catches_fails_the_run() -> None:
    run = Run(order, order_id=1)
    run.go()
    advance = run.end(0, error=CallError("exception", "card refused"))
    assert advance.stand is Stand.FAILED
    assert str(advance.error) == "run charge: card refused"


def test_the_first_failure_of_several_is_raised_at_once_and_the_others_may_go_on() -> None:
    async def all_of(ctx: WorkflowContext) -> str:
        slow = ctx.run(ship, item="slow")
        try:
            await ctx.gather(slow, ctx.run(ship, item="bad"))
        except CallFailed:
            return str(await slow)
        return ""

    run = Run(all_of)
    run.go()
    assert run.end(1, error=CallError("exception", "broken")) == Advance(Stand.WAITING, open=[0])
    assert run.end(0, "came all the same").value == "came all the same"


def test_failures_may_be_gathered_as_values() -> None:
    async def both(ctx: WorkflowContext) -> list[str]:
        found = await ctx.gather(ctx.run(ship, item=1), ctx.run(ship, item=2), return_exceptions=True)
        return [str(one) for one in found]

    run = Run(both)
    run.go()
    run.end(1, error=CallError("exception", "broken"))
    assert run.end(0, "fine").value == ["fine", "run ship: broken"]


def test_branches_of_several_steps_run_side_by_side() -> None:
    async def branch(ctx: WorkflowContext, item: str) -> str:
        first = await ctx.run(charge, item=item)
        return str(await ctx.run(ship, item=first))

    async def fan(ctx: WorkflowContext) -> list[str]:
        return await ctx.gather(branch(ctx, "a"), branch(ctx, "b"))

    run = Run(fan)
    assert asked(run.go()) == ['run charge {"item":"a"}', 'run charge {"item":"b"}']
    assert asked(run.end(1, "b1")) == ['run ship {"item":"b1"}']
    assert asked(run.end(0, "a1")) == ['run ship {"item":"a1"}']
    run.end(3, "A")
    assert run.end(2, "B").value == ["A", "B"]


def test_the_first_of_several_is_named_and_the_others_may_be_awaited_later() -> None:
    async def race(ctx: WorkflowContext) -> list[Any]:
        ok = ctx.signal("ok")
        first = await ctx.select(ok=ok, late=ctx.sleep("1h"))
        return [first.name, first.value, await ok]

    run = Run(race)
    assert asked(run.go()) == ["signal ok", "sleep 3600000000"]
    assert run.end(1) == Advance(Stand.WAITING, open=[0])
    assert run.end(0, "yes").value == ["late", None, "yes"]


def test_of_two_answers_the_one_that_was_recorded_first_wins_at_every_replay() -> None:
    async def race(ctx: WorkflowContext) -> str:
        return (await ctx.select(a=ctx.run(ship, item="a"), b=ctx.run(ship, item="b"))).name

    run = Run(race)
    run.go()
    run.history.events += [Ended(1, DAY + 1), Ended(0, DAY + 2)]
    assert run.replay().value == "b"
    assert run.replay().value == "b"


def test_time_chance_and_ids_are_the_same_at_every_replay() -> None:
    seen: list[Any] = []

    async def outside(ctx: WorkflowContext) -> None:
        seen.append((ctx.now(), ctx.random(), ctx.uuid4()))
        await ctx.sleep("1s")
        seen.append((ctx.now(), ctx.random(), ctx.uuid4()))

    run = Run(outside)
    run.go()
    run.end(0)
    before, (first, second) = seen[0], seen[1:]
    assert before == first
    assert first[0].isoformat() == "1970-01-02T00:00:00+00:00"
    assert (second[0] - first[0]).total_seconds() == 1
    assert first[1:] != second[1:]
    assert first[2].version == 4


def test_another_call_than_was_recorded_is_told_and_nothing_else_happens() -> None:
    run = Run(order, order_id=42)
    run.go()

    async def changed(ctx: WorkflowContext, order_id: int) -> None:
        await ctx.run(charge, order=order_id, currency="EUR")

    run.function = changed
    advance = run.replay()
    assert advance.stand is Stand.DIFFERS
    assert advance.calls == []
    assert str(advance.difference) == (
        'call 0: `run charge {"order":42}` was recorded, and now the code asks for '
        '`run charge {"currency":"EUR","order":42}`. Put the code back, mark the change with ctx.patched(...), or fork '
        "the run from before this call"
    )
    run.function = order
    assert run.replay() == Advance(Stand.WAITING, open=[0])


@pytest.mark.parametrize("events", [[], [Ended(0, DAY)]])
def test_a_call_that_the_code_does_not_make_any_more_is_told(events: list[Any]) -> None:
    async def nothing(ctx: WorkflowContext, order_id: int) -> None:
        pass

    run = Run(order, order_id=42)
    run.go()
    run.history.events += events
    run.function = nothing
    advance = run.replay()
    assert advance.stand is Stand.DIFFERS
    assert advance.difference is not None
    assert advance.difference.asked is None
    assert "the code asks for nothing" in str(advance.difference)


def test_a_difference_cannot_be_caught() -> None:
    async def deaf(ctx: WorkflowContext) -> str:
        try:
            await ctx.run(ship)
        except BaseException:
            return "went on"
        return ""

    run = Run(deaf)
    run.history.calls.append(Call(0, Kind.RUN, "charge", b"{}"))
    assert run.replay().stand is Stand.DIFFERS


class TestPatches:
    """``ctx.patched`` lets code change under runs that have begun."""

    @staticmethod
    async def before(ctx: WorkflowContext) -> str:
        await ctx.run(charge)
        return str(await ctx.run(ship))

    @staticmethod
    async def after(ctx: WorkflowContext) -> str:
        await ctx.run(charge)
        if ctx.patched("insured"):
            await ctx.run(Job("insure"))
        return str(await ctx.run(ship))

    def test_a_run_that_went_past_goes_the_old_way(self) -> None:
        run = Run(self.before)
        run.go()
        run.end(0)
        run.function = self.after
        assert run.end(1, "old").value == "old"

    def test_also_when_it_made_no_call_there(self) -> None:
        async def both(ctx: WorkflowContext, *, insured: bool) -> str:
            first, second = ctx.run(charge), ctx.run(ship)
            await ctx.select(a=first, b=second)
            if insured and ctx.patched("insured"):
                await ctx.run(Job("insure"))
            await second
            return str(await ctx.run(refund))

        run = Run(both, insured=False)
        run.go()
        assert run.end(0) == Advance(Stand.WAITING, open=[1])
        run.arguments = {"insured": True}
        assert asked(run.end(1)) == ["run refund {}"]

    def test_a_run_that_comes_there_later_goes_the_new_way_and_keeps_to_it(self) -> None:
        run = Run(self.before)
        run.go()
        run.function = self.after
        assert asked(run.end(0)) == ["patch insured", "run insure {}"]
        assert asked(run.end(2)) == ["run ship {}"]
        assert run.end(3, "new").value == "new"

    def test_a_mark_that_was_taken_out_again_is_told(self) -> None:
        run = Run(self.after)
        run.go()
        run.end(0)
        run.function = self.before
        advance = run.replay()
        assert advance.stand is Stand.DIFFERS
        assert "`patch insured` was recorded" in str(advance.difference)


def test_a_cancel_reaches_it_where_it_waits_and_lets_it_clean_up() -> None:
    async def careful(ctx: WorkflowContext) -> None:
        await ctx.run(charge)
        try:
            await ctx.sleep("1h")
        finally:
            await ctx.run(refund)

    run = Run(careful)
    run.go()
    run.end(0)
    run.history.events.append(CancelAsked(DAY + 5, "changed my mind"))
    assert asked(run.go()) == ["run refund {}"]
    advance = run.end(2)
    assert advance.stand is Stand.CANCELLED
    assert isinstance(advance.error, WorkflowCancelled)
    assert str(advance.error) == "changed my mind"


def test_a_second_cancel_reaches_it_also_after_what_it_waited_for_has_ended() -> None:
    async def careful(ctx: WorkflowContext) -> None:
        try:
            await ctx.sleep("1h")
        finally:
            await ctx.run(refund)

    run = Run(careful)
    run.go()
    run.history.events += [CancelAsked(DAY + 1), Ended(0, DAY + 2)]
    assert asked(run.go()) == ["run refund {}"]
    run.history.events.append(CancelAsked(DAY + 3))
    assert run.go().stand is Stand.CANCELLED


def test_what_waits_is_left_behind_without_asking_for_anything() -> None:
    async def careful(ctx: WorkflowContext) -> None:
        try:
            await ctx.sleep("1h")
        finally:
            await ctx.run(refund)

    run = Run(careful)
    assert asked(run.go()) == ["sleep 3600000000"]
    assert run.go() == Advance(Stand.WAITING, open=[0])


async def test_what_is_not_recorded_cannot_be_awaited() -> None:
    async def naps(ctx: WorkflowContext, seconds: float) -> None:
        await asyncio.sleep(seconds)

    for seconds, what in ((0, "something of an event loop"), (1, "Future")):
        advance = Run(naps, seconds=seconds).replay()
        assert advance.stand is Stand.FAILED
        assert isinstance(advance.error, ForeignAwait)
        assert f"and not {what}" in str(advance.error)


def test_a_long_run_goes_on_as_a_new_one() -> None:
    async def count(ctx: WorkflowContext, n: int) -> None:
        await ctx.sleep(1)
        ctx.continue_as_new(n=n + 1)

    run = Run(count, n=1)
    run.go()
    assert run.end(0) == Advance(Stand.CONTINUED, arguments={"n": 2})


def test_a_run_without_end_is_ended() -> None:
    async def endless(ctx: WorkflowContext) -> None:
        await ctx.gather(*(ctx.sleep(1) for _ in range(MOST + 1)))

    advance = Run(endless).replay()
    assert advance.stand is Stand.FAILED
    assert "at most 10,000 calls" in str(advance.error)


def test_a_function_that_waits_for_itself_is_told_so() -> None:
    async def knot(ctx: WorkflowContext) -> None:
        async def inner() -> None:
            await outer

        outer = ctx.gather(inner())
        await outer

    advance = Run(knot).replay()
    assert advance.stand is Stand.FAILED
    assert "waits for itself" in str(advance.error)
