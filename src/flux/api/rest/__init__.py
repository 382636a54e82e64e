"""The operations of REST, one file a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.api.operations import Operation

if TYPE_CHECKING:
    from flux.api.app import Api


def all_operations(api: Api) -> list[Operation]:
    """Every operation, in the order in which the documentation shows them."""
    from flux.api import health
    from flux.api.rest import (
        batch,
        bulk,
        docs,
        events,
        jobs,
        logs,
        metrics,
        queues,
        schedules,
        stats,
        workers,
        workflows,
    )

    resources = (
        jobs, batch, bulk, logs, queues, workers, schedules, workflows, stats, events, health, metrics, docs,
    )  # fmt: skip
    return [operation for resource in resources for operation in resource.operations(api)]


def probe_operations(api: Api) -> list[Operation]:
    """The operations of a process that serves no REST: how it is, and its numbers."""
    from flux.api import health
    from flux.api.rest import metrics

    return [*health.operations(api), *metrics.operations(api)]
