"""The one model of a workflow's definition: what JSON, YAML and the builder all become.

Everything here is as people write it: durations are texts in their shortest form, expressions are strings. What
follows from it is computed elsewhere: the edges in ``graph.py``, the numbers in ``plan.py``.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from flux.domain.request import UniqueRequest
from flux.domain.workflow.release import Condition, OnFailure, Outcome, mask_of

MAX_STEPS: Final = 10_000
MAX_NEEDS: Final = 1_000
"""Needs of one step, those that expressions imply included."""
MAX_EDGES: Final = 100_000
MAX_EXPRESSIONS: Final = 50_000
"""Expressions of a definition: each takes up to a quarter of a millisecond to check."""
MAX_ITEMS: Final = 100_000
"""Items of one fan-out."""
MAX_DEFINITION: Final = 16 << 20
"""Bytes of a definition as JSON or YAML."""
MAX_CHILD_DEPTH: Final = 10
"""Workflows within workflows. Known only when they start."""
LONGEST_NAME: Final = 100
STEP_NAME: Final = r"[A-Za-z_][A-Za-z0-9_.-]*"

# Not as msgspec's own bounds: the parser has words of its own for what is outside.
_FROM_ONE: Final = {"minimum": 1}
_ONE_TO_TEN: Final = {"minimum": 1, "maximum": 10}

Duration = Annotated[str | int | float, Meta(description='"30s", "5m", "1h30m", or a number of seconds')]
Expr = Annotated[str, Meta(description='one expression, with nothing around it: "${{ input.total > 5 }}"')]


class Need(Struct, frozen=True, forbid_unknown_fields=True):
    """A need with a condition: how the other step has to end for this one to run. Without one: ``succeeded``."""

    step: Annotated[str, Meta(description="the name of the step to wait for")]
    on: Annotated[
        Condition | tuple[Condition, ...],
        Meta(description="the ends that let this step run; `ended` is any of them"),
    ] = Condition.SUCCEEDED

    @property
    def mask(self) -> int:
        """The outcomes that satisfy it, as in ``release.py``."""
        return mask_of((self.on,) if isinstance(self.on, str) else self.on)


Needs = Annotated[
    tuple[str | Need, ...],
    Meta(description="the steps that have to end first; by default each must have succeeded"),
]


class Memo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Takes the output of an earlier success with the same key instead of running."""

    key: Annotated[str, Meta(description="what makes two runs of the step alike; usually an expression")]
    ttl: Annotated[Duration | None, Meta(description="how long an output is good for; null: forever")] = None


When = Annotated[Expr | None, Meta(description="judged once when the needs have ended; false skips the step")]
ContinueOnFailure = Annotated[bool, Meta(description="the step's failure does not fail the workflow")]


class _Waiting(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every step may say."""

    needs: Needs = ()
    when: When = None
    continue_on_failure: ContinueOnFailure = False


class _JobOptions(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The options of a job, as for a job of its own."""

    type: Annotated[str, Meta(description="the job type that a handler serves")]
    payload: Annotated[
        Any, Meta(description="what the handler gets; strings may hold ${{ expressions }}")
    ] = {}
    queue: Annotated[str | None, Meta(description="default: the workflow's")] = None
    priority: Annotated[
        int | None, Meta(extra_json_schema=_ONE_TO_TEN, description="10 runs first; default: the workflow's")
    ] = None
    timeout: Annotated[Duration | None, Meta(description="how long an attempt may take")] = None
    max_retries: Annotated[
        int,
        Meta(extra_json_schema={"minimum": 0, "maximum": 1000}, description="attempts after the first one"),
    ] = 3
    backoff: Annotated[
        dict[str, Any] | list[Any] | None,
        Meta(description='delays between attempts: {"kind": ...} or a list'),
    ] = None
    tags: Annotated[tuple[str, ...], Meta(description="beside the workflow's tags")] = ()
    headers: Annotated[dict[str, str] | None, Meta(description="carried to the handler")] = None
    expires_in: Annotated[Duration | None, Meta(description="not started within this: cancelled")] = None


class ExitJob(_JobOptions, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job that runs when the workflow has ended, however it ended."""


class JobStep(_JobOptions, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step that is a job, or with ``for_each`` one job an item."""

    kind: ClassVar[str] = "job"

    # A struct has one base: these three are those of _Waiting.
    needs: Needs = ()
    when: When = None
    continue_on_failure: ContinueOnFailure = False
    delay: Annotated[Duration | None, Meta(description="wait so long once the needs have ended")] = None
    unique: Annotated[UniqueRequest | None, Meta(description="at most one such job alive")] = None
    for_each: Annotated[
        Expr | tuple[Any, ...] | None,
        Meta(description="one job for each item of this list; expressions see `item` and `index`"),
    ] = None
    item_when: Annotated[
        Expr | None, Meta(description="judged for each item; false leaves the item out (null in the output)")
    ] = None
    max_parallel: Annotated[
        int | None, Meta(extra_json_schema=_FROM_ONE, description="items that run at the same time")
    ] = None
    fail_fast: Annotated[
        bool,
        Meta(description="the first failed item cancels the others; otherwise all run and errors are kept"),
    ] = False
    memo: Memo | None = None


class SignalStep(_Waiting, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step that waits for a signal; its output is what was sent with it."""

    kind: ClassVar[str] = "signal"

    wait_for: Literal["signal"]
    signal: Annotated[str, Meta(description="the signal's name")]
    timeout: Annotated[Duration | None, Meta(description="fails when no signal came within this")] = None


class TimeStep(_Waiting, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step that waits: for a while, or until a moment. It holds no worker."""

    kind: ClassVar[str] = "time"

    wait_for: Literal["time"]
    delay: Annotated[
        Duration | None, Meta(description="so long, once the needs have ended; or one expression")
    ] = None
    until: Annotated[
        str | None, Meta(description='until then: "2026-11-24T19:33:54Z"; or one expression')
    ] = None


class ChildStep(_Waiting, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step that is a workflow of its own; its output is that one's."""

    kind: ClassVar[str] = "workflow"

    workflow: Annotated[str, Meta(description="the template, and its version if not the latest: refund@2")]
    input: Annotated[Any, Meta(description="its input; strings may hold ${{ expressions }}")] = None
    timeout: Annotated[
        Duration | None, Meta(description="cancelled and failed when not ended within this")
    ] = None


Step: TypeAlias = JobStep | SignalStep | TimeStep | ChildStep

if TYPE_CHECKING:
    Steps: TypeAlias = dict[str, Step]
else:
    # msgspec tells structs of a union apart by a tag; these are told apart by the fields that they have.
    Steps = dict[str, Any]


class Definition(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow: its steps by name, and what holds for all of them. Made by ``parse.parse_definition``."""

    name: Annotated[str, Meta(description="the workflow's name")]
    input: Annotated[Any, Meta(description="what expressions see as `input`, when a run brings none")] = None
    steps: Annotated[Steps, Meta(description="the steps by name")]
    output: Annotated[
        Any, Meta(description="the workflow's output; strings may hold ${{ expressions }} over all steps")
    ] = None
    on_exit: ExitJob | None = None
    timeout: Annotated[
        Duration | None, Meta(description="cancelled and failed when not ended within this")
    ] = None
    max_parallel: Annotated[
        int | None, Meta(extra_json_schema=_FROM_ONE, description="steps that run at the same time")
    ] = None
    on_failure: Annotated[
        OnFailure, Meta(description="whether branches that do not depend on a failure go on")
    ] = OnFailure.FINISH_INDEPENDENT
    queue: Annotated[str | None, Meta(description="the queue of steps that name none")] = None
    priority: Annotated[
        int | None, Meta(extra_json_schema=_ONE_TO_TEN, description="of steps that name none; 10 runs first")
    ] = None
    tags: Annotated[tuple[str, ...], Meta(description="of the run and of every step's job")] = ()


def dump_definition(definition: Definition) -> dict[str, Any]:
    """The definition as plain values, without what is default: ``parse_definition`` reads it back as it is."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(definition))
    return plain


def digest(definition: Definition) -> str:
    """32 hexadecimal digits that name this definition. The order of the steps counts, that of an object's keys not."""
    plain = dump_definition(definition)
    steps = list(plain.pop("steps").items())
    return blake2b(msgspec.json.encode([plain, steps], order="deterministic"), digest_size=16).hexdigest()


__all__ = [
    "MAX_CHILD_DEPTH", "MAX_DEFINITION", "MAX_EDGES", "MAX_EXPRESSIONS", "MAX_ITEMS", "MAX_NEEDS", "MAX_STEPS",
    "ChildStep", "Condition", "Definition", "ExitJob", "JobStep", "Memo", "Need", "OnFailure", "Outcome", "SignalStep",
    "Step", "TimeStep", "digest", "dump_definition",
]  # fmt: skip
