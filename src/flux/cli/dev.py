"""`flux dev`: everything in one process, restarted when your code changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flux.cli.app_spec import DEMO, App, load_app, settings_of
from flux.cli.options import ApiHost, ApiPort, Concurrency, DashboardPort, JsonLogs, Processes, Queues
from flux.cli.session import read_settings
from flux.cli.terminal import say
from flux.domain.duration import SECOND

if TYPE_CHECKING:
    from flux.config import Settings
    from flux.sdk.app import Flux

app = typer.Typer(rich_markup_mode=None)

DEFAULTS = {
    # A typo in a type should be seen at once, and a restart should not wait for a job that sleeps.
    "unknown_type_wait": 0,
    "shutdown_grace": 5 * SECOND,
    "log_format": "text",
}


@app.command()
def dev(
    spec: App = DEMO,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Restart when a .py file changes.")
    ] = True,
    concurrency: Concurrency = None,
    queues: Queues = None,
    processes: Processes = 1,
    host: ApiHost = None,
    api_port: ApiPort = None,
    dashboard_port: DashboardPort = None,
    as_json: JsonLogs = False,
) -> None:
    """Run API, worker, scheduler, dashboard and your handlers in one process. Ctrl+C stops it.

    With --processes the handlers run in so many processes of their own.
    """
    overrides = {
        "worker_concurrency": concurrency,
        "worker_queues": queues,
        "api_host": host,
        "dashboard_host": host,
        "api_port": api_port,
        "dashboard_port": dashboard_port,
        "log_format": "json" if as_json else None,
    }
    settings = read_settings(overrides, DEFAULTS)
    if reload:
        from flux.cli.reload import can_reload
        from flux.cli.reload import reload as run_again

        if can_reload():
            flags = {"concurrency": concurrency, "queues": queues, "processes": processes, "host": host}
            flags |= {"api-port": api_port, "dashboard-port": dashboard_port}
            arguments = ["dev", spec, "--no-reload", *(["--json"] if as_json else [])]
            for name, value in flags.items():
                if value is not None:
                    arguments += [f"--{name}", str(value)]
            raise typer.Exit(run_again(arguments, settings.shutdown_grace / SECOND + 5.0))
        say("no reload: pip install 'flux[cli]' brings watchfiles, which notices changes")
    from flux.cli.service import EVERYTHING, Service

    flux = load_app(spec)
    settings = settings_of(flux, settings)

    def started() -> None:
        print(banner(settings, flux, spec), flush=True)

    if processes == 1:
        raise typer.Exit(Service(settings=settings, parts=EVERYTHING, app=flux, started=started).run())
    from flux.cli.processes import WorkersPart, worker_commands

    own = {"concurrency": concurrency, "queues": queues}
    commands = worker_commands(spec, settings, processes, own, as_json=as_json)
    workers = WorkersPart(commands, settings)
    raise typer.Exit(Service(settings=settings, parts=EVERYTHING, workers=workers, started=started).run())


def banner(settings: Settings, flux: Flux, spec: str) -> str:
    """Where everything is, and the first thing to try."""
    from flux import __version__
    from flux.cli.service import url

    api = url(settings.api_host, settings.api_port)
    types = sorted(flux.handlers())
    shown = ", ".join(types[:12]) + (f" and {len(types) - 12} more" if len(types) > 12 else "")
    sample = "echo" if "echo" in types or not types else types[0]
    body = f'{{"type": "{sample}", "payload": {{"hello": "world"}}}}'
    if sample != "echo":
        body = f'{{"type": "{sample}", "payload": {{}}}}'
    return "\n".join(
        (
            f"Flux {__version__} is running. Ctrl+C stops it.",
            "",
            f"  API        {api}/api/v1    try it at {api}/docs",
            f"  Dashboard  {url(settings.dashboard_host, settings.dashboard_port)}",
            f"  Database   {settings.database_shown}",
            f"  Handlers   {shown or 'none yet'} ({spec})",
            "",
            "  A first job:",
            f"  curl {api}/api/v1/jobs -H 'content-type: application/json' -d '{body}'",
            "",
        )
    )
