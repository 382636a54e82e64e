"""How deep queues are: counted along indexes, and the less often the longer that takes."""

from __future__ import annotations

from flux.domain.duration import SECOND
from flux.stores.postgres.claiming import SQL as CLAIM
from flux.stores.postgres.clock import SQL
from flux.stores.postgres.session import Session

ROWS_A_SECOND = 200_000
"""A backlog of so many available jobs is counted each second, one of four times as many every fourth."""

STANDS_FOR = 25 * SECOND
"""A sample like the last one is not written again for so long: a store at rest stays at rest."""

Row = tuple[str, str, int, int | None]
"""Queue, state, depth and when the oldest was to run."""


async def sample(session: Session, namespace: str, now: int) -> list[Row] | None:
    """Count, or None when the last count is good for a while yet."""
    last = await session.row(SQL["last_depth"], namespace=namespace)
    if last is not None and 0 <= now - last[0] < SECOND * (last[1] // ROWS_A_SECOND):
        return None
    oldest: dict[str, int] = {}
    for queue, priority, type in await session.fetch(CLAIM["all_lanes"], namespace=namespace):
        lane = {"queue": queue, "priority": priority, "type": type}
        run_at = await session.value(SQL["oldest_available"], namespace=namespace, **lane)
        if run_at is not None:
            oldest[queue] = min(run_at, oldest.get(queue, run_at))
    rows: list[Row] = []
    for queue, since in oldest.items():
        depth = await session.value(SQL["depth_available"], namespace=namespace, queue=queue)
        rows.append((queue, "available", depth, since))
    for queue, state, depth in await session.fetch(SQL["depth_others"], namespace=namespace):
        rows.append((queue, state, depth, None))
    known = {row[0] for row in rows}
    # A queue that is empty has a depth too, or its last one would seem to last.
    for (queue,) in await session.fetch(SQL["queue_names"], namespace=namespace):
        if queue not in known:
            rows.append((queue, "available", 0, None))
    return rows


async def write(session: Session, namespace: str, now: int, rows: list[Row]) -> None:
    """Keep a sample; of two in one second the later one counts."""
    slot = now - now % SECOND
    await session.run(SQL["clear_depth"], namespace=namespace, slot=slot)
    if rows:
        queues, states, depths, oldest = zip(*rows, strict=True)
        await session.run(
            SQL["write_depth"],
            namespace=namespace,
            slot=slot,
            queues=queues,
            states=states,
            depths=depths,
            oldest=oldest,
        )
