"""``GET /metrics``: for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flux.api.http import Answer, Call
from flux.api.operations import Operation, Reply
from flux.telemetry.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from flux.api.app import Api

_EXAMPLE = """# HELP flux_jobs_total Jobs that ended, by final state.
# TYPE flux_jobs_total counter
flux_jobs_total{outcome="succeeded",queue="email",type="email"} 1190.0
"""


class MetricsResource:
    """The call for metrics."""

    def __init__(self, api: Api) -> None:
        self._metrics = api.metrics

    async def get(self, call: Call) -> Answer:
        """``GET /metrics``."""
        return Answer(200, await self._metrics.text(), content_type=CONTENT_TYPE)


def operations(api: Api) -> list[Operation]:
    """The operation on metrics."""
    return [
        Operation(
            method="GET",
            path="/metrics",
            name="getMetrics",
            group="Numbers",
            summary="Metrics for Prometheus",
            handler=MetricsResource(api).get,
            replies={200: Reply("The text format.", str, _EXAMPLE, "text/plain")},
        )
    ]
