"""The `flux` command: finds the command group that is meant, loads that one and nothing else, and turns every
failure into a line and an exit code.

The list below is all that `flux --help` needs: loading typer alone would take longer than the rest of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, NoReturn

_SECTIONS: Final = {
    "Run": {
        "dev": ("flux.cli.dev", "everything in one process, restarted on every change of your code"),
        "up": ("flux.cli.up", "everything in one process, for production on one host"),
        "worker": ("flux.cli.worker", "a worker for your handlers; also: worker list, worker drain"),
        "api": ("flux.cli.servers:api", "the REST server"),
        "dashboard": ("flux.cli.servers:dashboard", "the dashboard"),
        "scheduler": ("flux.cli.servers:scheduler", "the scheduler; of several, one leads"),
    },
    "Use": {
        "job": ("flux.cli.job", "enqueue, list, show, logs, wait, cancel, retry, rerun"),
        "queue": ("flux.cli.queue", "list, show, pause, resume, set"),
        "schedule": ("flux.cli.schedule", "list, show, create, delete, pause, resume, trigger"),
        "workflow": ("flux.cli.workflow", "check, schema: definitions of workflows"),
    },
    "Look after": {
        "migrate": ("flux.cli.migrate", "up, down, status, new: the database's schema"),
        "doctor": ("flux.cli.doctor", "check everything that a healthy Flux needs"),
        "bench": ("flux.cli.bench", "measure enqueue, drain and latency on this machine"),
    },
}
_COMMANDS: Final = {name: entry[0] for section in _SECTIONS.values() for name, entry in section.items()}
_WORKER_VERBS: Final = ("list", "drain")
"""`flux worker app:flux` runs one; these words after it ask about workers instead."""


def run(argv: list[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code: 0 done, 1 failed, 2 usage, 3 not reachable."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("--help", "-h", "help"):
        print(_help())
        sys.exit(0)
    as_json = "--json" in args
    if args[0] in ("--version", "-V"):
        _version(as_json)
    from flux.cli.failures import told

    with told(as_json=as_json):
        place = _COMMANDS.get(args[0])
        if place is None:
            raise _unknown(args[0])
        if args[0] == "worker" and args[1:2] and args[1] in _WORKER_VERBS:
            place = "flux.cli.workers"
        code = _load(place)(args=args[1:], prog_name=f"flux {args[0]}", standalone_mode=not as_json)
    sys.exit(code)


def _load(place: str) -> Callable[..., int | None]:
    from importlib import import_module

    from typer.main import get_command

    module, _, attribute = place.partition(":")
    command: Callable[..., int | None] = get_command(getattr(import_module(module), attribute or "app")).main
    return command


def _help() -> str:
    from flux import __version__

    lines = [f"Flux {__version__}: a distributed job queue.", "", "Usage: flux COMMAND [OPTIONS]"]
    for title, commands in _SECTIONS.items():
        lines += ["", f"{title}:", *(f"  {name:<10}  {what}" for name, (_, what) in commands.items())]
    lines += [
        "",
        "flux COMMAND --help says more. --json gives one JSON document. Exit codes: 0 done, 1 failed,",
        "2 usage, 3 not reachable. Settings: the environment (DATABASE_URL, ...), then flux.toml, then flags.",
    ]
    return "\n".join(lines)


def _version(json: bool) -> NoReturn:
    from flux import __version__

    print(f'{{"version": "{__version__}"}}' if json else f"flux {__version__}")
    sys.exit(0)


def _unknown(word: str) -> Exception:
    from difflib import get_close_matches

    from flux.cli.failures import CommandError, ExitCode

    what = "an option" if word.startswith("-") else "a command"
    close = get_close_matches(word, _COMMANDS, n=1)
    hint = f"did you mean flux {close[0]}?" if close else "flux --help lists what there is"
    return CommandError(f"{word} is not {what} of flux; {hint}", ExitCode.USAGE)
