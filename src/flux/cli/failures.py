"""How a command fails: a line or two on stderr that help, an exit code, and no traceback unless it is asked for.

With ``--json`` stderr has one problem document instead, as REST would answer it; stdout stays empty.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from flux.domain.errors import FluxError, Invalid, SchemaMismatch, Unavailable


class ExitCode(IntEnum):
    """What a command answers to its caller."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3


class CommandError(FluxError):
    """A command cannot go on; its text is for the person who typed it."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        self.code = code
        super().__init__(message)


_SERVER = ("uvicorn", "httptools", "jinja2", "prometheus_client")


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """Say what went wrong and leave with its exit code. ``FLUX_DEBUG=1`` shows where it happened."""
    try:
        yield
    except BrokenPipeError:
        # `flux job list | head`: nobody reads on, which is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("FLUX_DEBUG", "").lower() not in ("", "0", "false", "no", "off"):
            raise
        print(_problem(error) if as_json else f"Error: {sentence(error)}", file=sys.stderr)
        sys.exit(code_of(error))


def _problem(error: Exception) -> str:
    from flux.api.problems import Problem, foreseen, refusal

    status = {ExitCode.USAGE: 400, ExitCode.UNREACHABLE: 503}.get(code_of(error), 500)
    found = foreseen(error) or refusal(Problem(status, sentence(error)))
    return found.body.decode()


def code_of(error: BaseException) -> ExitCode:
    """The exit code of a failure."""
    from flux.config import SettingsError

    if isinstance(error, CommandError):
        return error.code
    if _usage(error) is not None:
        return ExitCode.USAGE
    if isinstance(error, SettingsError | Invalid):
        return ExitCode.USAGE
    if isinstance(error, Unavailable):
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def _usage(error: BaseException) -> str | None:
    """What was typed wrongly, in click's words. By its version typer brings click under one name or another."""
    words = getattr(error, "format_message", None)
    return None if words is None else str(words())


def sentence(error: BaseException) -> str:
    """What happened, and what to do about it where that is known."""
    if (usage := _usage(error)) is not None:
        return usage
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(sentence(inner) for inner in error.exceptions)
    if isinstance(error, SchemaMismatch) and "migrate" not in str(error):
        return f"{error}\nflux migrate status says where it stands, flux migrate up brings it up to date"
    if isinstance(error, FluxError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in _SERVER:
        return f"{error.name} is not installed; pip install 'flux[server]' brings what a server needs"
    return f"{type(error).__name__}: {error}\nFLUX_DEBUG=1 shows where"
