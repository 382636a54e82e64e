"""Handlers that misbehave harm their own attempt: whatever they do, the jobs beside them succeed."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from flux.domain.job import Job
from tests.torture.house import House, Process, request

pytestmark = pytest.mark.torture

ROGUES = "tests.torture.rogues:flux"


def beside_neighbours(
    house: House, worker: Process, cases: list[tuple[str, dict[str, Any]]], **fields: Any
) -> list[Job]:
    """Run rogues and honest jobs in one worker; the rogues' jobs, after the others are seen to be well."""
    before = [house.submit("well_behaved", {"number": n}) for n in range(20)]
    rogues = house.submit_many([request(type, payload, max_retries=0, **fields) for type, payload in cases])
    after = [house.submit("well_behaved", {"number": n}) for n in range(20)]
    jobs = [house.ended(id) for id in rogues]
    for id in (*before, *after):
        assert house.ended(id).state == "succeeded"
    # The same worker, under the same id, in the same process: it never stumbled.
    last = house.ended(house.submit("well_behaved", {"number": 1}))
    assert worker.code is None, worker.tail
    assert last.worker_id == worker.worker_ids[0]
    assert len(worker.worker_ids) == 1
    return jobs


def test_exceptions_of_every_kind_end_their_attempt_only(house: House) -> None:
    worker = house.worker(ROGUES, FLUX_LEASE="10s")
    kinds = ["exit", "interrupt", "cancelled", "generator", "stop", "mute"]
    types = ["raises", "raises_in_thread", "raises_in_process"]
    cases = [(type, {"how": how}) for type in types for how in kinds]
    cases += [("task_exits", {"how": "exit"}), ("task_exits", {"how": "interrupt"})]
    cases += [("recurses", {}), ("recurses_in_thread", {})]
    jobs = beside_neighbours(house, worker, cases)
    names = {
        "exit": "SystemExit",
        "interrupt": "KeyboardInterrupt",
        "cancelled": "CancelledError",
        "generator": "GeneratorExit",
        "mute": "Mute",
    }
    for (type, payload), job in zip(cases, jobs, strict=True):
        assert (job.state, job.error.kind) == ("dead", "exception"), (type, payload, job.error)
        name = names.get(payload.get("how", ""), "RecursionError" if "recurses" in type else "")
        assert name in job.error.message, (type, payload, job.error)


def test_what_is_no_json_fails_its_own_attempt(house: House) -> None:
    worker = house.worker(ROGUES, FLUX_LEASE="10s")
    whats = ["object", "nan", "surrogate", "large", "key", "itself", "deep"]
    jobs = beside_neighbours(house, worker, [("returns", {"what": what}) for what in whats])
    found = {what: job.error.kind for what, job in zip(whats, jobs, strict=True)}
    assert found == {what: "result_too_large" if what == "large" else "bad_result" for what in whats}, found
    assert all(job.state == "dead" for job in jobs)


def test_what_is_left_running_is_no_burden(house: House) -> None:
    worker = house.worker(ROGUES, FLUX_LEASE="10s")
    cases: list[tuple[str, dict[str, Any]]] = [
        ("leaves_tasks", {}),
        ("leaves_a_thread", {}),
        ("forgotten_task_exits", {}),
    ]
    jobs = beside_neighbours(house, worker, cases)
    assert [job.state for job in jobs] == ["succeeded"] * 3, [job.error for job in jobs]
    lines = house.rows("SELECT text FROM logs WHERE job_id = ?", jobs[0].id)
    assert lines == [("100 tasks that the handler started and left running were cancelled",)]


def test_floods_are_bounded(house: House) -> None:
    worker = house.worker(ROGUES, FLUX_LEASE="10s")
    cases = [
        ("prints", {"megabytes": 8}),
        ("floods", {"lines": 3_000}),
        ("floods_from_a_process", {"lines": 3_000}),
    ]
    jobs = beside_neighbours(house, worker, cases)
    assert [job.state for job in jobs] == ["succeeded"] * 3, [job.error for job in jobs]
    for job in jobs[1:]:
        ((count, most),) = house.rows("SELECT count(*), max(length(text)) FROM logs WHERE job_id = ?", job.id)
        assert 1000 <= count <= 1001
        assert most < 20_000
    assert house.file.stat().st_size < 20 << 20


def test_a_child_process_that_dies_takes_nobody_along(house: House) -> None:
    worker = house.worker(ROGUES, FLUX_LEASE="10s")
    cases: list[tuple[str, dict[str, Any]]] = [
        ("exits", {"code": 7}),
        ("exits", {"code": 0}),
        ("segfaults", {}),
        ("bomb", {}),
        ("modest", {}),
    ]
    *dead, modest = beside_neighbours(house, worker, cases)
    assert modest.state == "succeeded"
    assert {job.state for job in dead} == {"dead"}
    assert {job.error.kind for job in dead} == {"crashed"}
    said = [job.error.message for job in dead]
    assert "exit code 7" in said[0]
    assert "exit code 0" in said[1]
    assert "SIGSEGV" in said[2]
    assert "memory limit of 64MB" in said[3]
    worker.says(
        f"job {dead[0].id} (exits): the handler's process ended with exit code 7",
        f"job {dead[2].id} (segfaults): the handler's process was killed by signal 11 (SIGSEGV)",
        "the process of bomb is replaced: it ran out of memory",
    )


def test_a_handler_that_never_yields_is_taken_over_by_another_worker(house: House) -> None:
    house.leader()
    stuck = house.worker(ROGUES, FLUX_LEASE="3s")
    beside = house.submit("patient")
    house.running(beside)
    job_id = house.submit("never_yields", {"seconds": 600})
    house.until(lambda: (house.demo / "never_yields.once").exists(), "the loop to be stuck")
    heir = house.worker(ROGUES)
    job = house.ended(job_id)
    assert (job.state, job.attempt, job.worker_id) == ("succeeded", 2, heir.worker_ids[0])
    assert [a.outcome for a in job.attempts] == ["lost", "succeeded"]
    # Its neighbour in the stuck worker could not be kept either, and runs elsewhere.
    house.until(lambda: house.job(beside).worker_id == heir.worker_ids[0], "the neighbour to run again")
    (house.demo / "never_yields.go").touch()
    stuck.says(
        "the event loop has not moved for",
        "it stands in never_yields (",
        "renewals stop, so that its jobs are rescued",
        'belongs in isolation="process"',
        "it goes on under a new id",
    )
    assert house.job(job_id) == job
    # Said at one lease, two, four and so on, not at every renewal that is left out.
    assert stuck.log.count("has not moved") <= 5
    stuck.send(signal.SIGTERM)
    assert stuck.ended() == 0
