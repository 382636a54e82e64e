"""`flux api`, `flux dashboard`, `flux scheduler`: one part a process."""

from __future__ import annotations

from typing import Annotated

import typer

from flux.cli.options import JsonLogs, MetricsHost, MetricsPort
from flux.cli.session import read_settings

api = typer.Typer(rich_markup_mode=None)
dashboard = typer.Typer(rich_markup_mode=None)
scheduler = typer.Typer(rich_markup_mode=None)

Host = Annotated[str | None, typer.Option(help="Listen here; 0.0.0.0 is every network. Default: 127.0.0.1.")]
ApiPort = Annotated[int | None, typer.Option("--port", "-p", help="API_PORT, 8080.")]
DashboardPort = Annotated[int | None, typer.Option("--port", "-p", help="DASHBOARD_PORT, 8081.")]


@api.command("api")
def run_api(host: Host = None, port: ApiPort = None, as_json: JsonLogs = False) -> None:
    """Run the REST server: /api/v1, /health, /metrics, /docs."""
    _run("api", {"api_host": host, "api_port": port}, as_json)


@dashboard.command("dashboard")
def run_dashboard(host: Host = None, port: DashboardPort = None, as_json: JsonLogs = False) -> None:
    """Run the dashboard."""
    _run("dashboard", {"dashboard_host": host, "dashboard_port": port}, as_json)


@scheduler.command("scheduler")
def run_scheduler(
    interval: Annotated[str | None, typer.Option(help="The longest sleep (SCHEDULER_INTERVAL, 1s).")] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    as_json: JsonLogs = False,
) -> None:
    """Run a scheduler: starts what is due, rescues lost jobs, forgets old ones. Of several, one leads."""
    metrics = {"metrics_port": metrics_port, "metrics_host": metrics_host}
    _run("scheduler", {"scheduler_interval": interval, **metrics}, as_json)


def _run(part: str, overrides: dict[str, object], as_json: bool) -> None:
    from flux.cli.service import Service

    settings = read_settings({**overrides, "log_format": "json" if as_json else None})
    raise typer.Exit(Service(settings=settings, parts=(part,)).run())
