"""`flux migrate`: the schema of the database."""

from __future__ import annotations

import asyncio
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flux.cli.failures import CommandError, ExitCode
from flux.cli.options import Json, Yes
from flux.cli.session import read_settings, require_database
from flux.cli.terminal import confirm, print_json, print_table, say
from flux.config import Settings, build_engine
from flux.domain.schema import Phase

app = typer.Typer(help="The schema of the database.", no_args_is_help=True, rich_markup_mode=None)

_NUMBERED = re.compile(r"(\d+)_")

_HINTS = {
    Phase.PRE: (
        ("up", "what it adds; the version before must work with it"),
        ("down", "how that is taken back"),
    ),
    Phase.POST: (("up", "what it takes away; this version does without"), ("down", "how that comes back")),
}


class _Store(StrEnum):
    """Whoever has migrations."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@app.command()
def up(
    to: Annotated[int | None, typer.Option(help="No further than this number.")] = None,
    phase: Annotated[
        Phase | None,
        typer.Option(
            help="pre: before the first new process starts; post: after the last old one has left. Default: both."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring the schema up to date; makes the database when there is none."""
    settings = read_settings()
    if to is not None:
        stands = _stands(_status(settings))
        if to < stands:
            raise CommandError(
                f"the schema stands at {stands}; flux migrate down --to {to} goes back", ExitCode.USAGE
            )
    _report(_migrate(settings, to, phase), "applied", as_json)


@app.command()
def down(
    to: Annotated[
        int | None, typer.Option(help="Back to this number; 0 drops everything. Default: one back.")
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Take back the newest step of the schema. What it held is gone."""
    settings = read_settings()
    require_database(settings)
    stands = _stands(_status(settings))
    target = max(stands - 1, 0) if to is None else to
    if target > stands:
        raise CommandError(
            f"the schema stands at {stands}; flux migrate up --to {target} goes on", ExitCode.USAGE
        )
    if target == stands:
        _report([], "taken back", as_json)
        return
    what = "everything in it" if target == 0 else "what the later steps hold"
    confirm(f"take {settings.database_shown} from {stands} back to {target}? That deletes {what}.", yes=yes)
    _report(_migrate(settings, target), "taken back", as_json)


@app.command()
def status(as_json: Json = False) -> None:
    """Say which steps are applied. Exit code 1 when some are not."""
    settings = read_settings()
    require_database(settings)
    steps = _status(settings)
    if as_json:
        print_json({"migrations": [{"name": name, "applied": applied} for name, applied in steps]})
    else:
        print_table(
            ("migration", "state"), [(name, "applied" if done else "missing") for name, done in steps], "none"
        )
    if not all(applied for _, applied in steps):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What it does, in small letters and underscores.")],
    store: Annotated[_Store | None, typer.Option(help="Only for this store. Default: for each.")] = None,
    phase: Annotated[
        Phase,
        typer.Option(
            help="pre: it adds; post: it takes away what only processes of the version before need."
        ),
    ] = Phase.PRE,
    directory: Annotated[
        Path, typer.Option(help="Where the stores are, each with a folder migrations.")
    ] = Path("src/flux/stores"),
    as_json: Json = False,
) -> None:
    """Begin a migration of Flux itself: an up and a down file for each store, all with the next number."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name):
        raise CommandError(f"{name!r} is no name: small letters, digits and underscores", ExitCode.USAGE)
    folders = {one: directory / one / "migrations" for one in _Store}
    absent = [str(folder) for folder in folders.values() if not folder.is_dir()]
    if absent:
        raise CommandError(
            f"there is no directory {', '.join(absent)}; --directory names another", ExitCode.USAGE
        )
    # One number for all, also where a store goes without: the same step has the same number everywhere.
    files = [file.name for folder in folders.values() for file in folder.glob("*.sql")]
    stem = f"{max(map(_number, files), default=0) + 1:04d}_{name}.{phase}"
    made = []
    for one in _Store if store is None else (store,):
        for way, hint in _HINTS[phase]:
            file = folders[one] / f"{stem}.{way}.sql"
            file.write_text(f"-- {name.replace('_', ' ')}: {hint}.\n", "utf-8")
            made.append(str(file))
    if as_json:
        print_json({"files": made})
    else:
        print("\n".join(made))


def _migrate(settings: Settings, target: int | None, phase: Phase | None = None) -> list[str]:
    return asyncio.run(build_engine(settings, migrate=False).store.migrate(target, phase))


def _status(settings: Settings) -> list[tuple[str, bool]]:
    return asyncio.run(build_engine(settings, migrate=False).store.schema())


def _stands(steps: list[tuple[str, bool]]) -> int:
    """The number of the newest step that is applied."""
    return max((_number(name) for name, applied in steps if applied), default=0)


def _number(name: str) -> int:
    found = _NUMBERED.match(name)
    return int(found[1]) if found else 0


def _report(names: list[str], verb: str, as_json: bool) -> None:
    if as_json:
        print_json({"migrations": names})
    elif names:
        for name in names:
            print(f"{name}  {verb}")
    else:
        say("nothing to do")
