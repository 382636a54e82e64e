"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]

Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", help="Jobs that run at the same time (WORKER_CONCURRENCY, 10)."),
]
Queues = Annotated[
    str | None,
    typer.Option("--queues", "-q", help='Queues to serve: "default,email:5"; * is all (WORKER_QUEUES).'),
]
Processes = Annotated[int, typer.Option(min=1, max=512, help="Worker processes, each with its own slots.")]
ApiHost = Annotated[str | None, typer.Option("--host", help="Listen here (FLUX_API_HOST, 127.0.0.1).")]
ApiPort = Annotated[int | None, typer.Option("--api-port", help="API_PORT, 8080.")]
DashboardPort = Annotated[int | None, typer.Option("--dashboard-port", help="DASHBOARD_PORT, 8081.")]
MetricsPort = Annotated[
    int | None, typer.Option("--metrics-port", help="/metrics and /health (FLUX_METRICS_PORT; none).")
]
MetricsHost = Annotated[
    str | None, typer.Option("--metrics-host", help="Who may read them (FLUX_METRICS_HOST, 127.0.0.1).")
]
JsonLogs = Annotated[bool, typer.Option("--json", help="Logs as JSON lines.")]
