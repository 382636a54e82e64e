"""`flux doctor`: what a healthy Flux needs, looked at one by one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import typer

from flux.cli.checks import Check, check_file, check_here, check_store
from flux.cli.failures import ExitCode
from flux.cli.options import Json
from flux.cli.terminal import print_json, print_table

app = typer.Typer(rich_markup_mode=None)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check Python, SQLite, the database, its schema, workers and queues. Exit code 1 when something is wrong."""
    checks, settings = check_here()
    if settings is not None:
        file = None if settings.on_postgres else Path(settings.database_file)
        checks += [] if file is None else check_file(file)
        if file is None or file.is_file():
            checks += asyncio.run(check_store(settings, file))
    wrong = [check for check in checks if check.state == "wrong"]
    if as_json:
        print_json({"ok": not wrong, "checks": checks})
    else:
        print_table(("check", "state", "what"), [_row(check) for check in checks], "")
        if wrong:
            print(f"\n{len(wrong)} of {len(checks)} checks failed", file=sys.stderr)
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


def _row(check: Check) -> tuple[str, str, str]:
    return check.name, check.state, check.text
