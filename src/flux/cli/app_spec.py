"""`module:attribute`: finding the application whose handlers are served."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from flux.cli.failures import CommandError, ExitCode
from flux.config import Settings, sqlite_path

if TYPE_CHECKING:
    from flux.sdk.app import Flux

DEMO = "flux.demo:flux"

App = Annotated[
    str,
    typer.Argument(
        metavar="[MODULE:ATTRIBUTE]", help="Where your Flux object is; default: the demo's handlers."
    ),
]


def load_app(spec: str) -> Flux:
    """The ``Flux`` object that the spec names, with the current directory importable.

    Raises ``CommandError`` (usage) that says which half of the spec is wrong, or where the module failed.
    """
    module_name, colon, path = spec.partition(":")
    if not (module_name and colon and path):
        raise _usage(f"{spec!r} is not module:attribute; for `flux = Flux()` in app.py write app:flux")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").replace("/", ".")
        raise _usage(f"{module_name} is a file; write the module: {dotted}:{path}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name, here)
    found: object = module
    for name in path.split("."):
        if not hasattr(found, name):
            raise _usage(f"{module_name} has no {path}{_suggestion(module)}")
        found = getattr(found, name)
    return _checked(found, spec)


def _checked(found: object, spec: str) -> Flux:
    from flux.sdk.app import Flux

    if not isinstance(found, Flux):
        raise _usage(f"{spec} is {type(found).__name__!r} and not a Flux object")
    return found


def _import(name: str, here: str) -> object:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise _usage(f"there is no module {missing} in {here} (or among what is installed)") from None
        raise _broken(name, error) from error
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> CommandError:
    """The module's own mistake: its last line outside of the import machinery says where."""
    if isinstance(error, SyntaxError):
        where = f"{error.filename} line {error.lineno}"
    else:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename
        ]
        where = f"{frames[-1].filename} line {frames[-1].lineno}" if frames else name
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return _usage(
        f"{name} cannot be imported: {type(error).__name__}: {reason}\n{where} (FLUX_DEBUG=1 shows it all)"
    )


def _suggestion(module: object) -> str:
    """The Flux objects that the module does have."""
    from flux.sdk.app import Flux

    names = [name for name, value in vars(module).items() if isinstance(value, Flux)]
    return f"; it has {', '.join(names)}" if names else ""


def _usage(message: str) -> CommandError:
    return CommandError(message, ExitCode.USAGE)


def settings_of(flux: Flux, settings: Settings) -> Settings:
    """The settings of a process that serves this application. The database that its code names wins: that is where it
    enqueues. Raises ``CommandError`` (usage)."""
    if flux.url is None:
        return settings
    if flux.remote:
        if os.environ.get("DATABASE_URL"):
            return settings
        raise _usage(
            f"{flux!r} talks to a server, and a worker needs the store itself; DATABASE_URL names it"
        )
    try:
        sqlite_path(flux.url)
    except ValueError as error:
        raise _usage(f"{flux!r}: {error}") from None
    return msgspec.structs.replace(settings, database_url=flux.url)
