"""A claim: one statement that chooses, locks, marks and tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flux.domain.errors import LeaseLost
from flux.domain.job import ClaimedJob
from flux.engine.ports import Demand
from flux.stores.postgres.session import Record
from flux.stores.postgres.sql import Statement, Statements, is_uuid

SQL = Statements("claim.sql")

MOST = 64_000_000
"""Bytes of payload that one claim takes; a job that is longer by itself is claimed all the same."""


def plan_claim(
    namespace: str, now: int | None, demand: Demand, claim_id: int
) -> tuple[Statement, dict[str, Any]]:
    """The statement that meets a demand, and its values."""
    limited = {queue: room for queue, room in demand.queues.items() if room < demand.slots}
    values: dict[str, Any] = {
        "namespace": namespace,
        "now": now,
        "worker_id": demand.worker_id,
        "claim_id": claim_id,
        "types": demand.types,
        "queues": None if demand.every_queue else list(demand.queues),
        "slots": demand.slots,
        "sign": 1 if demand.lowest_first else -1,
        "limited": list(limited),
        "rooms": list(limited.values()),
        "most_bytes": MOST,
    }
    if demand.hints is not None:
        # In their order, so that they are locked in it.
        values["hints"] = sorted({hint for hint in demand.hints if is_uuid(hint)})
        return SQL["claim_hinted"], values
    return SQL["claim_within_rooms" if limited else "claim_by_policy"], values


def read_claim(rows: Sequence[Record], demand: Demand, claim_id: int) -> list[ClaimedJob]:
    """The jobs that were claimed, in the order of the policy. Raises ``LeaseLost``."""
    if not rows[0][0]:
        raise LeaseLost(f"The lease of worker {demand.worker_id} has lapsed.")
    jobs = [_claimed(row, claim_id) for row in rows if row[1] is not None]
    sign = 1 if demand.lowest_first else -1
    jobs.sort(key=lambda job: (sign * job.priority, job.id))
    return jobs


def _claimed(row: Record, claim_id: int) -> ClaimedJob:
    (
        _,
        id,
        type,
        queue,
        priority,
        payload,
        attempt,
        attempt_limit,
        timeout,
        options,
        created_at,
        run_at,
        started_at,
        schedule_id,
        workflow_id,
        step,
        checkpoint,
    ) = row
    return ClaimedJob(
        str(id),
        claim_id,
        type,
        queue,
        priority,
        payload.decode(),
        attempt,
        attempt_limit,
        timeout,
        None if options is None else options.decode(),
        created_at,
        run_at,
        started_at,
        schedule_id,
        workflow_id,
        step,
        None if checkpoint is None else checkpoint.decode(),
    )
