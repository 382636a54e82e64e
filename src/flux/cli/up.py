"""`flux up`: everything in one process, with production's settings."""

from __future__ import annotations

import typer

from flux.cli.app_spec import DEMO, App, load_app, settings_of
from flux.cli.options import ApiHost, ApiPort, Concurrency, DashboardPort, JsonLogs, Queues
from flux.cli.session import read_settings

app = typer.Typer(rich_markup_mode=None)


@app.command()
def up(
    spec: App = DEMO,
    concurrency: Concurrency = None,
    queues: Queues = None,
    host: ApiHost = None,
    api_port: ApiPort = None,
    dashboard_port: DashboardPort = None,
    as_json: JsonLogs = False,
) -> None:
    """Run API, worker, scheduler and dashboard in one process. SIGTERM or Ctrl+C once: graceful; twice: at once."""
    from flux.cli.service import EVERYTHING, Service

    settings = read_settings(
        {
            "worker_concurrency": concurrency,
            "worker_queues": queues,
            "api_host": host,
            "dashboard_host": host,
            "api_port": api_port,
            "dashboard_port": dashboard_port,
            "log_format": "json" if as_json else None,
        }
    )
    flux = load_app(spec)
    raise typer.Exit(Service(settings=settings_of(flux, settings), parts=EVERYTHING, app=flux).run())
