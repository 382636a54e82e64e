"""`flux worker`: a process, or several, that runs your handlers' jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from flux.cli.app_spec import DEMO, App, load_app, settings_of
from flux.cli.failures import CommandError, ExitCode
from flux.cli.options import Concurrency, JsonLogs, MetricsHost, MetricsPort, Processes, Queues
from flux.cli.session import read_settings
from flux.domain.duration import SECOND
from flux.domain.size import parse_size

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="flux worker list and flux worker drain ask about workers that run.")
def worker(
    spec: App = DEMO,
    concurrency: Concurrency = None,
    queues: Queues = None,
    processes: Processes = 1,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Start anew after so many jobs.")] = None,
    max_memory: Annotated[str | None, typer.Option(help='Start anew past this: "500MB".')] = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    as_json: JsonLogs = False,
) -> None:
    """Run a worker. SIGTERM or Ctrl+C once: running jobs finish within FLUX_SHUTDOWN_GRACE; twice: at once."""
    from flux.cli.service import Service, configure_logs

    logs = "json" if as_json else None
    settings = read_settings(
        {
            "worker_concurrency": concurrency,
            "worker_queues": queues,
            "metrics_port": metrics_port,
            "metrics_host": metrics_host,
            "log_format": logs,
        }
    )
    flux = load_app(spec)
    if processes > 1:
        from flux.cli.processes import supervise, worker_commands

        configure_logs(settings)
        flags = {
            "concurrency": concurrency,
            "queues": queues,
            "max-jobs": max_jobs,
            "max-memory": max_memory,
            "metrics-host": metrics_host,
        }
        commands = worker_commands(spec, settings, processes, flags, as_json=as_json)
        raise typer.Exit(supervise(commands, settings.shutdown_grace / SECOND + 10.0))
    settings = settings_of(flux, settings)
    service = Service(
        settings=settings,
        parts=("worker",),
        app=flux,
        max_jobs=max_jobs,
        max_memory=None if max_memory is None else _size(max_memory),
    )
    raise typer.Exit(service.run())


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise CommandError(f"--max-memory {text}: {error}", ExitCode.USAGE) from None
