"""`flux job`: its commands, gathered."""

from __future__ import annotations

import typer

from flux.cli.job_bulk import cancel, rerun, retry
from flux.cli.job_enqueue import enqueue
from flux.cli.job_read import list_jobs, logs, show, wait

app = typer.Typer(
    help="Submit jobs, look at them, change their fate.", no_args_is_help=True, rich_markup_mode=None
)
app.command("enqueue")(enqueue)
app.command("list")(list_jobs)
app.command("show")(show)
app.command("logs")(logs)
app.command("wait")(wait)
app.command("cancel")(cancel)
app.command("retry")(retry)
app.command("rerun")(rerun)
