"""What the end of a step releases, whoever ends its job, and how a run ends."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from flux.domain.duration import HOUR, SECOND
from flux.domain.job import AttemptOutcome, JobState, LogLine
from flux.domain.workflow.states import WorkflowState
from flux.engine.ports import Store
from tests.conformance.store.graphs import Run, create, graph, new_run
from tests.conformance.store.lab import LEASE, START, Lab, SteeredClock, outcome

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
async def worker(lab: Lab) -> None:
    """A worker that claims."""
    await lab.worker()


async def test_a_chain_goes_step_by_step(lab: Lab) -> None:
    run = await create(lab, graph("a b c", "a>b", "b>c"))
    assert await run.states() == {"a": "available", "b": "blocked", "c": "blocked"}
    await run.end(a="succeeded")
    assert await run.states() == {"a": "succeeded", "b": "available", "c": "blocked"}
    await run.end(b="succeeded")
    assert await run.state() is WorkflowState.RUNNING
    lab.clock.advance(SECOND)
    await run.end(c="succeeded")
    read = await run.read()
    assert (read.state, read.finished_at, read.steps_left) == (WorkflowState.SUCCEEDED, lab.clock(), 0)


async def test_a_released_job_is_as_its_step_says(lab: Lab, clock: SteeredClock) -> None:
    run = await create(lab, graph("a b", "a>b"))
    clock.advance(SECOND)
    await run.end(a="succeeded")
    job = await lab.get(run.job_id("b"))
    assert (job.workflow_id, job.step, job.options.step, job.payload) == (run.id, 1, "b", b'{"step":"b"}')
    # It is as old as its run, and waits since its release.
    assert (job.created_at, job.run_at) == (START, START + SECOND)
    claimed = (await run.claim("b"))["b"]
    assert (claimed.workflow_id, claimed.step, claimed.attempt_limit) == (run.id, 1, 4)


async def test_both_sides_of_a_diamond_are_waited_for(lab: Lab) -> None:
    run = await create(lab, graph("a b c d", "a>b", "a>c", "b>d", "c>d"))
    await run.end(a="succeeded")
    assert await run.states() == {"a": "succeeded", "b": "available", "c": "available", "d": "blocked"}
    await run.end(b="succeeded")
    assert (await run.states())["d"] == "blocked"
    await run.end(c="succeeded")
    assert (await run.states())["d"] == "available"


async def test_parents_that_end_in_one_batch_release_once(lab: Lab) -> None:
    run = await create(lab, graph("a b c d", "a>d", "b>d", "c>d"))
    await run.end(a="succeeded", b="succeeded", c="succeeded")
    assert (await run.states())["d"] == "available"
    await run.end(d="succeeded")
    assert await run.state() is WorkflowState.SUCCEEDED


async def test_runs_of_one_batch_keep_to_themselves(lab: Lab, store: Store) -> None:
    shape = graph("a b c", "a>b", "b>c")
    runs = [await create(lab, shape) for _ in range(5)]
    claimed = [(await run.claim("a"))["a"] for run in runs]
    states = [JobState.SUCCEEDED, JobState.DEAD, JobState.SUCCEEDED, JobState.CANCELLED, JobState.SKIPPED]
    await store.jobs.finish("w1", [outcome(job, state) for job, state in zip(claimed, states, strict=True)])
    assert [(await run.states())["b"] for run in runs] == [
        "available",
        "skipped",
        "available",
        "skipped",
        "skipped",
    ]
    assert [str(await run.state()) for run in runs] == [
        "running",
        "failed",
        "running",
        "failed",
        "succeeded",
    ]


@pytest.mark.parametrize("batches", [2, 5])
async def test_parents_that_end_at_once_release_once(lab: Lab, batches: int) -> None:
    stores = [lab.store, *[await lab.another() for _ in range(batches - 1)]]
    names = " ".join(f"p{n}" for n in range(2 * batches))
    shape = graph(f"{names} x y", *(f"{name}>{end}" for name in names.split() for end in "xy"))
    for _ in range(15):
        run = await create(lab, shape)
        claimed = list((await run.claim(*names.split())).values())
        answers = await asyncio.gather(
            *[
                store.jobs.finish("w1", [outcome(job, JobState.SUCCEEDED) for job in claimed[n::batches]])
                for n, store in enumerate(stores)
            ]
        )
        assert [state for answer in answers for state in answer] == [JobState.SUCCEEDED] * len(claimed)
        states = await run.states()
        assert (states["x"], states["y"]) == ("available", "available")
        await run.end(x="succeeded", y="succeeded")
        assert await run.state() is WorkflowState.SUCCEEDED


async def test_ends_of_many_runs_at_once_do_not_block_each_other(lab: Lab) -> None:
    others = [lab.store, await lab.another(), await lab.another()]
    shape = graph("a b c x", "a>x", "b>x", "c>x")
    runs = [await create(lab, shape) for _ in range(20)]
    jobs = [[(await run.claim(step))[step] for run in runs] for step in "abc"]
    jobs[1].reverse()
    await asyncio.gather(
        *[
            store.jobs.finish("w1", [outcome(job, JobState.SUCCEEDED) for job in mine])
            for store, mine in zip(others, jobs, strict=True)
        ]
    )
    assert [(await run.states())["x"] for run in runs] == ["available"] * 20


async def test_cascades_that_meet_crosswise_both_go_through(lab: Lab) -> None:
    """Each of four ends skips the others' steps on its way down: rows are locked out of order, and tried again."""
    stores = [lab.store, *[await lab.another() for _ in range(3)]]
    roots = [f"r{n}" for n in range(4)]
    rows = [[f"s{depth}_{n}" for n in range(4)] for depth in range(6)]
    needs = [f"r{n}>s0_{n}" for n in range(4)]
    for above, below in pairwise(rows):
        needs += [f"{above[n]}>{below[3 - n]}" for n in range(4)]
        needs += [f"{above[n]}>{below[(n + 1) % 4]}" for n in range(4) if (n + 1) % 4 != 3 - n]
    shape = graph(" ".join([*roots, *(name for row in rows for name in row)]), *needs)
    for _ in range(5):
        run = await create(lab, shape)
        claimed = await run.claim(*roots)
        await asyncio.gather(
            *[
                store.jobs.finish("w1", [outcome(claimed[root], JobState.DEAD)])
                for store, root in zip(stores, roots, strict=True)
            ]
        )
        read = await run.read()
        assert [str(step.state) for step in read.steps or ()] == ["failed"] * 4 + ["skipped"] * 24
        assert (read.state, read.steps_left, read.failures) == (WorkflowState.FAILED, 0, 4)


async def test_an_edge_says_which_ends_satisfy_it(lab: Lab) -> None:
    shape = graph(
        "a good bad any late",
        "a>good",
        "a>bad:failed|cancelled",
        "a>any:succeeded|failed|skipped|cancelled",
        "good>late:skipped",
    )
    run = await create(lab, shape)
    await run.end(a="failed")
    assert await run.states() == {
        "a": "failed",
        "good": "skipped",
        "bad": "available",
        "any": "available",
        "late": "available",
    }
    run = await create(lab, shape)
    await run.end(a="succeeded")
    assert await run.states() == {
        "a": "succeeded",
        "good": "available",
        "bad": "skipped",
        "any": "available",
        "late": "blocked",
    }


async def test_one_need_unmet_skips_however_many_are_met(lab: Lab) -> None:
    run = await create(lab, graph("a b c d", "a>d", "b>d", "c>d"))
    await run.end(b="failed")
    assert (await run.states())["d"] == "blocked"
    await run.end(a="succeeded", c="succeeded")
    assert (await run.states())["d"] == "skipped"
    assert await run.state() is WorkflowState.FAILED


async def test_a_cascade_of_skips_ends_with_what_began_it(lab: Lab) -> None:
    count = 700
    names = [f"s{n}" for n in range(count)]
    needs = [f"{a}>{b}" for a, b in pairwise(names)]
    needs += [f"s0>s{n}" for n in range(2, count, 7)]
    run = await create(lab, graph(" ".join(names), *needs))
    await run.end(s0="failed")
    states = await run.states()
    assert states.pop("s0") == "failed"
    assert set(states.values()) == {"skipped"}
    assert await run.state() is WorkflowState.FAILED
    # What is skipped never was a job.
    assert await lab.every_id(workflow_id=run.id) == [run.job_id("s0")]


async def test_a_tolerated_failure_fails_nothing(lab: Lab) -> None:
    run = await create(lab, graph("a b c", "a>b:failed", "a>c", tolerated="a"))
    await run.end(a="failed")
    await run.end(b="succeeded")
    read = await run.read()
    assert (read.state, read.failures) == (WorkflowState.SUCCEEDED, 0)


async def test_an_attempt_that_fails_and_is_retried_ends_nothing(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b", "a>b"))
    claimed = (await run.claim("a"))["a"]
    await store.jobs.finish("w1", [outcome(claimed, JobState.RETRYING)])
    assert await run.states() == {"a": "retrying", "b": "blocked"}
    await lab.promote()
    await run.end(a="succeeded")
    assert await run.states() == {"a": "succeeded", "b": "available"}


async def test_an_end_that_comes_twice_counts_once(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b c", "a>c", "b>c"))
    claimed = (await run.claim("a"))["a"]
    end = outcome(claimed, JobState.SUCCEEDED)
    assert await store.jobs.finish("w1", [end, end]) == [JobState.SUCCEEDED, None]
    assert await store.jobs.finish("w1", [end]) == [None]
    assert (await run.states())["c"] == "blocked"
    assert (await run.read()).steps_left == 2


@pytest.mark.parametrize("told", [True, False])
async def test_a_success_is_no_plain_one_whatever_its_outcome_says(
    lab: Lab, store: Store, told: bool
) -> None:
    run = await create(lab, graph("a b", "a>b"))
    claimed = (await run.claim("a"))["a"]
    plain = await lab.running()
    ends = [outcome(claimed, JobState.SUCCEEDED), outcome(plain, JobState.SUCCEEDED)]
    ends[0].in_workflow = told
    assert await store.jobs.finish("w1", ends) == [JobState.SUCCEEDED, JobState.SUCCEEDED]
    assert await run.states() == {"a": "succeeded", "b": "available"}
    assert await lab.state(plain.id) is JobState.SUCCEEDED


async def test_a_false_condition_skips_from_its_attempt(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b c", "a>b", "a>c:skipped"))
    claimed = (await run.claim("a"))["a"]
    end = outcome(claimed, JobState.SKIPPED, logs=[LogLine(START, "info", "false")])
    assert await store.jobs.finish("w1", [end]) == [JobState.SKIPPED]
    assert await run.states() == {"a": "skipped", "b": "skipped", "c": "available"}
    [attempt] = await store.queries.attempts(claimed.id)
    assert attempt.outcome == AttemptOutcome.SKIPPED


# --- whoever ends it ----------------------------------------------------------------------------------------------


async def test_a_person_who_cancels_a_step_ends_it(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b c", "a>b", "a>c:cancelled"))
    await store.jobs.cancel([run.job_id("a")], "not wanted")
    assert await run.states() == {"a": "cancelled", "b": "skipped", "c": "available"}


async def test_a_step_of_a_lost_worker_is_rescued_and_its_death_releases(
    lab: Lab, clock: SteeredClock
) -> None:
    run = await create(lab, graph("a b c", "a>b", "a>c:failed"))
    for attempt in range(4):
        await lab.worker(f"lost{attempt}")
        await run.claim("a", worker=f"lost{attempt}")
        clock.advance(LEASE + SECOND)
        assert await lab.rescue() == 1
        await lab.promote()
        assert (await run.states())["b"] == ("blocked" if attempt < 3 else "skipped")
    assert await run.states() == {"a": "failed", "b": "skipped", "c": "available"}


async def test_a_step_of_a_type_that_nobody_knows_is_buried(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b", "a>b:failed"))
    await store.duties.bury(await lab.lead(), "t", "default", lab.clock() + 1, 100)
    assert await run.states() == {"a": "failed", "b": "available"}


async def test_the_job_of_a_step_cannot_be_retried_alone(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b", "a>b"))
    await run.end(a="failed")
    [answer] = await store.jobs.retry([run.job_id("a")])
    assert (answer.state, answer.done) == (JobState.DEAD, False)
    assert answer.why is not None
    assert "workflow" in answer.why
    assert await run.states() == {"a": "failed", "b": "skipped"}


# --- other kinds, and ends that are evaluated ----------------------------------------------------------------------


async def test_a_step_of_another_kind_waits(lab: Lab) -> None:
    run = await create(lab, graph("a s t b", "a>s", "s>b", kinds={"s": "signal", "t": "time"}))
    assert await run.states() == {"a": "available", "s": "blocked", "t": "waiting", "b": "blocked"}
    await run.end(a="succeeded")
    assert (await run.states())["s"] == "waiting"
    assert await lab.every_id(workflow_id=run.id) == [run.job_id("a")]


async def test_an_end_that_is_evaluated_waits_for_it(lab: Lab, store: Store) -> None:
    run = await create(lab, graph("a b", "a>b"), dynamic_end=True)
    plain = await create(lab, graph("a"))
    await run.end(a="failed")
    await plain.end(a="succeeded")
    read = await run.read()
    assert (read.state, read.ending, read.failures, read.finished_at) == (
        WorkflowState.RUNNING,
        True,
        1,
        None,
    )
    assert await store.workflows.ending(10) == [run.id]
    lab.clock.advance(HOUR)
    assert await store.workflows.end(run.id, WorkflowState.FAILED, b'{"a":1}', None)
    read = await run.read()
    assert (read.state, read.output, read.ending) == (WorkflowState.FAILED, b'{"a":1}', False)
    assert read.finished_at == lab.clock()
    assert not await store.workflows.end(run.id, WorkflowState.SUCCEEDED, None, None)
    assert await store.workflows.ending(10) == []


async def test_the_claims_policy_goes_by_the_age_of_runs(lab: Lab) -> None:
    first = Run(lab, new_run(lab, graph("a b", "a>b")))
    second = Run(lab, new_run(lab, graph("a b", "a>b")))
    await lab.store.workflows.create([second.new, first.new])
    later = await lab.add()
    await first.end(a="succeeded")
    claimed = await lab.claim()
    assert [job.id for job in claimed] == [first.job_id("b"), second.job_id("a"), later]
