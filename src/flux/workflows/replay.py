"""Replay: a durable function is run from its beginning to where its history ends, and tells what it asks for next.

The function is plain Python; each call that it awaits is recorded by its number before anything is done for it, and
what came of it is recorded when it has ended. So after a crash, or after a wait of a year, the same code with the same
answers in the same order comes to the same place, and holds nothing in between: no process, no slot, no memory.
What it asks must be what was recorded. A difference (the code was changed, or goes by a clock, a set's order or a
random number of its own) ends the replay with the call and what was expected; nothing of the run is touched by that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from flux.workflows.errors import ContinueAsNew, WorkflowCancelled, failure
from flux.workflows.fibers import Fiber, Fibers, Node
from flux.workflows.history import Call, Ended, History, Kind

LONG = 2_000
"""Calls from which on a run should go on as a new one: each of them is replayed at every step."""
MOST = 10_000
"""The most calls of one run."""


class Stand(StrEnum):
    """Where a replay has come to."""

    WAITING = "waiting"
    """Its calls have not ended."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CONTINUED = "continued"
    """It goes on as a new run."""
    DIFFERS = "differs"
    """It asks for something else than was recorded."""


class Difference(msgspec.Struct, frozen=True):
    """A call of the history and what today's code asks for in its place; None where one of them asks for nothing."""

    recorded: Call | None
    asked: Call | None

    def __str__(self) -> str:
        number = (self.recorded or self.asked or Call(0, Kind.RUN, "")).number
        recorded = f"`{self.recorded}` was recorded" if self.recorded else "nothing was recorded"
        asked = f"the code asks for `{self.asked}`" if self.asked else "the code asks for nothing"
        return (
            f"call {number}: {recorded}, and now {asked}. Put the code back, mark the change with "
            "ctx.patched(...), or fork the run from before this call"
        )


class Advance(msgspec.Struct):
    """What a replay found. ``calls`` are to be recorded and then done; ``open`` are the numbers still waited for."""

    stand: Stand
    calls: list[Call] = []
    open: list[int] = []
    value: Any = None
    error: BaseException | None = None
    difference: Difference | None = None
    arguments: dict[str, Any] | None = None
    """Of the run that follows, when it goes on as a new one."""


class Pending(Node[Any]):
    """A call of the function. It is asked for when it is first awaited, and may be awaited again."""

    def __init__(
        self,
        replay: Replay,
        kind: Kind,
        name: str,
        payload: Any,
        decode: Callable[[bytes], Any] | None = None,
    ) -> None:
        super().__init__()
        self._replay = replay
        self._kind = kind
        self._name = name
        # Now, not when it is asked for: what it was given may be changed in between.
        self._payload = msgspec.json.encode(payload, order="deterministic")
        self._decode = decode or msgspec.json.decode
        self.call: Call | None = None

    def begin(self) -> None:
        """Ask for it."""
        if self.call is None:
            self.call = self._replay.ask(self, self._kind, self._name, self._payload)

    def settle(self, ended: Ended) -> None:
        """Take what is recorded of its end."""
        assert self.call is not None
        if ended.error is not None:
            return self.end(error=failure(self.call, ended.error))
        try:
            value = self._decode(ended.value)
        except Exception as error:
            return self.end(error=error)
        self.end(value)


class _Stopped(BaseException):
    """Ends a replay in the middle of the function's code."""


_FATAL = (_Stopped, ContinueAsNew, KeyboardInterrupt)


class Replay:
    """One replay of one run."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.now = history.started_at
        """Microseconds: when what the function knows last had happened."""
        self.random = Random(history.run_id)
        """Gives the same numbers at each replay."""
        self._fibers = Fibers(lambda error: isinstance(error, _FATAL))
        self._asked: list[Pending | None] = []
        self._fresh: list[Call] = []
        self._patches: dict[str, bool] = {}
        self._events = 0
        self._difference: Difference | None = None
        self._over = False

    def run(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Advance:
        """Come to where the history ends."""
        main = self._fibers.spawn(function())
        try:
            return self._run(main)
        except _Stopped:
            return Advance(Stand.DIFFERS, difference=self._difference)
        except ContinueAsNew as anew:
            # What it asked for and did not wait for belongs to it and ends with it.
            return self._unasked() or Advance(Stand.CONTINUED, arguments=anew.arguments)
        finally:
            self._over = True
            self._fibers.close()

    def _run(self, main: Fiber[Any]) -> Advance:
        main.begin()
        self._fibers.run()
        for event in self.history.events:
            self._events += 1
            self.now = max(self.now, event.at)
            if isinstance(event, Ended):
                if event.number >= len(self._asked):
                    self._differs(self.history.calls[event.number], None)
                pending = self._asked[event.number]
                if pending is not None:
                    pending.settle(event)
            else:
                main.throw(WorkflowCancelled(event.reason or "the workflow was cancelled"))
            self._fibers.run()
        if differs := self._unasked():
            return differs
        if not main.done:
            ended = {event.number for event in self.history.events if isinstance(event, Ended)}
            waiting = [n for n, pending in enumerate(self._asked) if pending is not None and n not in ended]
            if not waiting:
                stuck = RuntimeError("the function waits for itself: none of its calls is left to end")
                return Advance(Stand.FAILED, self._fresh, error=stuck)
            return Advance(Stand.WAITING, self._fresh, waiting)
        error = main.error
        if error is None:
            return Advance(Stand.SUCCEEDED, self._fresh, value=main.result())
        if isinstance(error, WorkflowCancelled):
            return Advance(Stand.CANCELLED, self._fresh, error=error)
        return Advance(Stand.FAILED, self._fresh, error=error)

    def _unasked(self) -> Advance | None:
        """Where it differs, with the first recorded call that the code does not ask for any more if nothing was met."""
        if self._difference is not None:
            return Advance(Stand.DIFFERS, difference=self._difference)  # although its code caught even that
        calls = self.history.calls
        if len(self._asked) >= len(calls):
            return None
        return Advance(Stand.DIFFERS, difference=Difference(calls[len(self._asked)], None))

    # --- the function's side ---

    def ask(self, pending: Pending | None, kind: Kind, name: str, payload: bytes = b"null") -> Call:
        """Number a call and record it, or find it recorded."""
        if self._over:
            raise _Stopped  # a finally clause of what is left behind
        number = len(self._asked)
        if number >= MOST:
            raise RuntimeError(
                f"a run makes at most {MOST:,} calls; from {LONG:,} on let it go on by ctx.continue_as_new(...)"
            )
        call = Call(number, kind, name, payload)
        if number < len(self.history.calls):
            recorded = self.history.calls[number]
            if recorded != call:
                self._differs(recorded, call)
        else:
            self._fresh.append(call)
        self._asked.append(pending)
        return call

    def patched(self, name: str) -> bool:
        """Whether the run takes the changed way: it does unless it went past this place before the change."""
        known = self._patches.get(name)
        if known is None:
            recorded = self.history.calls[len(self._asked) :]
            if recorded:
                known = recorded[0].kind is Kind.PATCH and recorded[0].name == name
            else:
                # With answers still to come it was here before, and then made no call at all.
                known = self._events >= len(self.history.events)
            self._patches[name] = known
            if known:
                self.ask(None, Kind.PATCH, name)
        return known

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Fiber[Any]:
        """Run a coroutine of the function's own beside it."""
        return self._fibers.spawn(coroutine)

    def _differs(self, recorded: Call | None, asked: Call | None) -> None:
        self._difference = Difference(recorded, asked)
        raise _Stopped
