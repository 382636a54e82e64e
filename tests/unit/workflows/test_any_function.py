"""Whatever a durable function does and whenever it is replayed, it comes to where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flux.workflows.errors import CallFailed
from flux.workflows.function_context import WorkflowContext
from flux.workflows.history import CallError, CancelAsked, Ended, History, Kind
from flux.workflows.replay import Advance, Replay, Stand

Statement: TypeAlias = tuple[str, Any]
"""(verb, what belongs to it); a program is a list of them."""

SIMPLE = st.sampled_from(
    [("run", "a"), ("run", "b"), ("sleep", 1), ("signal", "s"), ("chance", None), ("patch", "p")]
)


def programs() -> st.SearchStrategy[list[Statement]]:
    """Calls, and several at once, inside one another."""
    return st.recursive(
        st.lists(SIMPLE, max_size=3),
        lambda inner: st.lists(
            st.one_of(
                SIMPLE,
                st.tuples(
                    st.sampled_from(["gather", "select", "guard"]), st.lists(inner, min_size=1, max_size=3)
                ),
            ),
            max_size=3,
        ),
        max_leaves=8,
    )


class Job:
    def __init__(self, type: str) -> None:
        self.type = type

    def call(self, **payload: Any) -> tuple[str, Any, Callable[[bytes], Any]]:
        return self.type, payload, msgspec.json.decode


async def perform(ctx: WorkflowContext, program: list[Statement], trace: list[Any]) -> int:
    """Do what a program says, and write down all that is seen."""
    for verb, of in program:
        seen: Any = verb
        try:
            if verb == "run":
                seen = await ctx.run(Job(of), after=len(trace))
            elif verb == "sleep":
                await ctx.sleep(of)
            elif verb == "signal":
                seen = await ctx.signal(of)
            elif verb == "chance":
                seen = ctx.random(), ctx.now(), str(ctx.uuid4())
            elif verb == "patch":
                seen = ctx.patched(of)
            elif verb == "gather":
                seen = await ctx.gather(*(perform(ctx, one, trace) for one in of), return_exceptions=True)
            elif verb == "guard":
                seen = await ctx.gather(*(perform(ctx, one, trace) for one in of))
            else:
                first = await ctx.select(**{f"n{i}": perform(ctx, one, trace) for i, one in enumerate(of)})
                seen = first.name
        except CallFailed as error:
            seen = error.kind
        trace.append((verb, repr(seen)))
    return len(program)


def replay(history: History, program: list[Statement]) -> tuple[Advance, list[Any]]:
    trace: list[Any] = []
    one = Replay(history)
    advance = one.run(lambda: perform(WorkflowContext(one), program, trace))
    return advance, trace


@given(programs(), st.data())
def test_every_replay_comes_to_where_the_run_was(program: list[Statement], data: st.DataObject) -> None:
    history = History("run", 0)
    before: list[Any] = []
    prefixes: list[tuple[int, int]] = []
    while True:
        advance, trace = replay(history, program)
        assert advance.stand is not Stand.DIFFERS, advance.difference
        assert trace[: len(before)] == before  # what was seen stays seen
        # Nobody recorded it: the process died. The next one asks for the same.
        again, same = replay(history, program)
        assert (again.stand, again.calls, again.open, same) == (
            advance.stand,
            advance.calls,
            advance.open,
            trace,
        )
        history.calls += advance.calls
        before = trace
        prefixes.append((len(history.calls), len(history.events)))
        if advance.stand is not Stand.WAITING:
            break
        assert advance.open
        # Some of what is open ends, in any order, with a value or an error.
        for number in data.draw(st.permutations(advance.open))[
            : data.draw(st.integers(1, len(advance.open)))
        ]:
            failed = history.calls[number].kind is Kind.RUN and data.draw(st.booleans())
            error = CallError("exception", "broken") if failed else None
            history.events.append(Ended(number, len(history.events) + 1, b'"value"', error))
    assert advance.stand is Stand.SUCCEEDED
    # From each place where it had stood it goes the way that it went.
    for calls, events in prefixes:
        part = History("run", 0, history.calls[:calls], history.events[:events])
        found, trace = replay(part, program)
        assert found.stand is not Stand.DIFFERS
        assert found.calls == []
        assert before[: len(trace)] == trace


@given(programs(), st.integers(0, 3), st.data())
def test_a_cancelled_run_ends(program: list[Statement], after: int, data: st.DataObject) -> None:
    history = History("run", 0)
    for _ in range(after):
        advance, _ = replay(history, program)
        history.calls += advance.calls
        if advance.stand is not Stand.WAITING:
            return
        history.events.append(Ended(data.draw(st.sampled_from(advance.open)), len(history.events) + 1))
    advance, _ = replay(history, program)
    history.calls += advance.calls
    waiting = advance.stand is Stand.WAITING
    history.events.append(CancelAsked(len(history.events) + 1))
    advance, _ = replay(history, program)
    assert advance.stand is (Stand.CANCELLED if waiting else Stand.SUCCEEDED)
