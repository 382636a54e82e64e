"""Creating, reading and cancelling runs of graphs."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from flux.domain.duration import SECOND
from flux.domain.errors import DataRefused, Invalid
from flux.domain.job import JobState
from flux.domain.workflow.states import StepState, WorkflowState
from flux.engine.ports import CreatedWorkflow, Store, WorkflowFilter
from tests.conformance.store.graphs import Run, create, graph, new_run
from tests.conformance.store.lab import START, Lab, SteeredClock, outcome

CHAIN = graph("a b c", "a>b", "b>c")


@pytest.fixture(autouse=True)
async def worker(lab: Lab) -> None:
    """A worker that claims."""
    await lab.worker()


# --- creating -----------------------------------------------------------------------------------------------------


async def test_a_run_is_read_as_it_was_created(lab: Lab, store: Store) -> None:
    run = await create(
        lab, CHAIN, name="order", template="order", version=3, input=b'{"n":1}', timeout=SECOND
    )
    read = await run.read()
    assert (read.name, read.template, read.version, read.input) == ("order", "order", 3, b'{"n":1}')
    assert (read.state, read.steps_left, read.failures) == (WorkflowState.RUNNING, 3, 0)
    assert (read.created_at, read.started_at, read.finished_at) == (START, START, None)
    assert read.deadline == START + SECOND
    assert await store.workflows.definition(read.definition_id) == CHAIN.document
    assert await store.workflows.definition("none") is None
    assert await store.workflows.read(lab.new_id(), True) is None


async def test_many_runs_in_one_call_share_their_definition(lab: Lab, store: Store) -> None:
    other = graph("x y", "x>y:failed")
    runs = [Run(lab, new_run(lab, CHAIN if n % 3 else other)) for n in range(12)]
    answers = await store.workflows.create([run.new for run in runs])
    assert answers == [CreatedWorkflow(run.id, WorkflowState.RUNNING, START) for run in runs]
    for run in runs:
        first = next(iter(run.numbers))
        assert set((await run.states()).values()) == {"available", "blocked"}
        assert await lab.every_id(workflow_id=run.id) == [run.job_id(first)]


async def test_one_definition_is_created_by_several_at_once(lab: Lab) -> None:
    stores = [lab.store, *[await lab.another() for _ in range(3)]]
    for n in range(10):
        shape = graph(f"a{n} b{n}", f"a{n}>b{n}")
        runs = [Run(lab, new_run(lab, shape)) for _ in stores]
        answers = await asyncio.gather(
            *[store.workflows.create([run.new]) for store, run in zip(stores, runs, strict=True)]
        )
        assert [answer[0].id for answer in answers if isinstance(answer[0], CreatedWorkflow)] == [
            run.id for run in runs
        ]
        for run in runs:
            assert await run.states() == {f"a{n}": "available", f"b{n}": "blocked"}


async def test_a_run_whose_answer_was_lost_is_answered_again(lab: Lab, store: Store) -> None:
    run = await create(lab, CHAIN)
    lab.clock.advance(SECOND)
    again = CreatedWorkflow(run.id, WorkflowState.RUNNING, START)
    assert await store.workflows.create([run.new, run.new]) == [again, again]
    await run.end(a="succeeded")
    await run.end(b="failed")
    [answer] = await store.workflows.create([run.new])
    assert answer == CreatedWorkflow(run.id, WorkflowState.FAILED, START)
    assert (await run.states())["a"] == "succeeded"


async def test_the_id_of_another_run_is_refused_and_the_others_stand(lab: Lab, store: Store) -> None:
    run = await create(lab, CHAIN)
    taken = msgspec.structs.replace(new_run(lab, CHAIN, input=b"1"), id=run.id)
    good = Run(lab, new_run(lab, CHAIN))
    refused, created = await store.workflows.create([taken, good.new])
    assert isinstance(refused, DataRefused)
    assert created == CreatedWorkflow(good.id, WorkflowState.RUNNING, START)


async def test_what_the_store_cannot_take_is_refused_alone(lab: Lab, store: Store) -> None:
    lacking = new_run(lab, CHAIN)
    lacking = msgspec.structs.replace(lacking, job_ids=lacking.job_ids[:2])
    job_id = await lab.add()
    borrowed = msgspec.structs.replace(new_run(lab, CHAIN), job_ids=[job_id, lab.new_id(), lab.new_id()])
    good = Run(lab, new_run(lab, CHAIN))
    answers = await store.workflows.create([lacking, borrowed, good.new])
    assert [isinstance(answer, DataRefused) for answer in answers] == [True, True, False]
    assert await store.workflows.read(lacking.id, False) is None
    assert await store.workflows.read(borrowed.id, False) is None
    assert (await good.states())["a"] == "available"


async def test_ten_thousand_steps_are_created_at_once(lab: Lab, store: Store) -> None:
    names = [f"s{n}" for n in range(10_000)]
    needs = [f"s{n // 10}>s{n}" for n in range(10, 10_000)]
    run = await create(lab, graph(" ".join(names), *needs))
    assert sorted(await lab.every_id(workflow_id=run.id)) == list(run.new.job_ids[:10])
    page = await store.workflows.steps(run.id, (StepState.BLOCKED,), 5000, 3)
    assert [(step.number, step.name) for step in page] == [(n, f"s{n}") for n in (5001, 5002, 5003)]
    await run.end(s1="succeeded")
    found = await store.workflows.steps(run.id, (StepState.AVAILABLE,), -1, 100)
    assert [step.number for step in found] == [0, *range(2, 20)]


# --- reading ------------------------------------------------------------------------------------------------------


async def test_a_step_shows_its_job_once_there_is_one(lab: Lab, store: Store, clock: SteeredClock) -> None:
    run = await create(lab, graph("a b c", "a>b:failed", "a>c"))
    claimed = (await run.claim("a"))["a"]
    clock.advance(SECOND)
    await store.jobs.finish("w1", [outcome(claimed, JobState.DEAD)])
    a, b, c = (await run.read()).steps or ()
    assert (a.job_id, a.attempt, a.started_at, a.finished_at) == (claimed.id, 1, START, START + SECOND)
    assert a.error is not None
    assert a.error.kind == "exception"
    assert (b.job_id, b.attempt, b.started_at) == (run.job_id("b"), 0, None)
    assert (c.state, c.job_id, c.attempt) == (StepState.SKIPPED, None, 0)


async def test_outputs_of_steps(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b c d", "a>c", "b>d"))
    claimed = await run.claim("a", "b")
    ends = [
        outcome(claimed["a"], JobState.SUCCEEDED, result=b'{"n":1}'),
        outcome(claimed["b"], JobState.DEAD),
    ]
    await store.jobs.finish("w1", ends)
    found = await store.workflows.outputs(run.id, [3, 0, 2, 1])
    assert [(one.number, str(one.state), one.output) for one in found] == [
        (0, "succeeded", b'{"n":1}'),
        (1, "failed", None),
        (2, "available", None),
        (3, "skipped", None),
    ]
    assert found[1].error is not None
    assert await store.workflows.outputs(run.id, []) == []


async def test_pages_of_runs(lab: Lab, store: Store) -> None:
    runs = [
        await create(lab, graph("a"), name=f"n{n % 2}", template="t" if n < 2 else None) for n in range(7)
    ]
    await runs[3].end(a="succeeded")
    await runs[4].end(a="failed")
    newest = [run.id for run in reversed(runs)]

    async def every(limit: int, **filter: object) -> list[str]:
        ids: list[str] = []
        cursor = None
        while True:
            page = await store.workflows.list(WorkflowFilter(**filter), limit, cursor)
            ids += [run.id for run in page.workflows]
            assert len(page.workflows) <= limit
            cursor = page.next_cursor
            if cursor is None:
                return ids

    assert await every(3) == newest
    assert await every(7) == newest
    ended = (WorkflowState.SUCCEEDED, WorkflowState.FAILED)
    assert await every(1, states=ended) == [runs[4].id, runs[3].id]
    assert await every(2, name="n1") == [runs[5].id, runs[3].id, runs[1].id]
    assert await every(9, name="n1", states=ended) == [runs[3].id]
    assert await every(1, template="t") == [runs[1].id, runs[0].id]
    with pytest.raises(Invalid):
        await store.workflows.list(WorkflowFilter(), 1, "nonsense")


# --- cancelling ---------------------------------------------------------------------------------------------------


async def test_cancel_reaches_every_step_that_has_not_ended(lab: Lab, store: Store) -> None:
    shape = graph("a b c d e", "a>d", "b>e", "c>e:cancelled|succeeded|failed|skipped", kinds={"e": "signal"})
    run = await create(lab, shape)
    await run.end(a="succeeded")
    claimed = (await run.claim("b"))["b"]
    answer = await store.workflows.cancel(run.id, "no more")
    assert (answer.state, answer.done) == (WorkflowState.RUNNING, True)
    assert await run.states() == {
        "a": "succeeded",
        "b": "running",
        "c": "cancelled",
        "d": "cancelled",
        "e": "cancelled",
    }
    assert (await lab.get(claimed.id)).cancel_requested
    # It would rather run again; it must not.
    assert await store.jobs.finish("w1", [outcome(claimed, JobState.RETRYING)]) == [JobState.CANCELLED]
    read = await run.read()
    assert (read.state, read.cancel_reason, read.steps_left) == (WorkflowState.CANCELLED, "no more", 0)
    again = await store.workflows.cancel(run.id, None)
    assert (again.state, again.done) == (WorkflowState.CANCELLED, False)
    assert (await store.workflows.cancel(lab.new_id(), None)).state is None


async def test_a_run_that_nobody_works_on_is_cancelled_at_once(lab: Lab, store: Store) -> None:
    run = await create(lab, CHAIN)
    answer = await store.workflows.cancel(run.id, None)
    assert (answer.state, answer.done) == (WorkflowState.CANCELLED, True)
    assert set((await run.states()).values()) == {"cancelled"}
    assert await lab.claim() == []


async def test_an_end_after_the_cancel_starts_nothing(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b", "a>b:succeeded|cancelled"))
    claimed = (await run.claim("a"))["a"]
    await store.workflows.cancel(run.id, None)
    await store.jobs.finish("w1", [outcome(claimed, JobState.SUCCEEDED)])
    assert await run.states() == {"a": "succeeded", "b": "cancelled"}
    assert await run.state() is WorkflowState.CANCELLED


async def test_a_cancel_racing_the_last_step(lab: Lab, store: Store) -> None:
    other = await lab.another()
    for n in range(15):
        run = await create(lab, graph("a b c", "a>c", "b>c") if n % 2 else graph("a"))
        claimed = (await run.claim("a"))["a"]
        end = outcome(claimed, JobState.SUCCEEDED)
        answer, [state] = await asyncio.gather(
            store.workflows.cancel(run.id, None), other.jobs.finish("w1", [end])
        )
        assert state is JobState.SUCCEEDED
        read = await run.read()
        assert read.steps_left == 0
        assert read.state is (WorkflowState.CANCELLED if answer.done else WorkflowState.SUCCEEDED)
        assert await lab.claim() == []


async def test_a_cancel_racing_a_busy_run(lab: Lab, store: Store) -> None:
    """Many workers end steps whose ends release others, while it is cancelled."""
    others = [await lab.another() for _ in range(3)]
    names = [f"r{n}" for n in range(6)] + [f"s{n}" for n in range(24)]
    needs = [f"r{n % 6}>s{n}" for n in range(24)]
    for _ in range(8):
        run = await create(lab, graph(" ".join(names), *needs))
        claimed = list((await run.claim(*names[:6])).values())
        finishes = [
            other.jobs.finish("w1", [outcome(job, JobState.SUCCEEDED) for job in claimed[n::3]])
            for n, other in enumerate(others)
        ]
        answer, *ended = await asyncio.gather(store.workflows.cancel(run.id, None), *finishes)
        assert answer.done
        assert {state for states in ended for state in states} == {JobState.SUCCEEDED}
        assert set((await run.states()).values()) == {"succeeded", "cancelled"}
        assert await run.state() is WorkflowState.CANCELLED
