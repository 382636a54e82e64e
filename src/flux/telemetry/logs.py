"""Logging for programs: lines for people on a terminal, one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Final, TextIO

import msgspec

_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31;1m", "DEBUG": "\x1b[2m"}
_RESET: Final = "\x1b[0m"

# What every record has; the rest came by `extra=` and is shown.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

LEVELS: Final = ("debug", "info", "warning", "error")


def configure_logging(level: str = "info", json: bool = False, stream: TextIO | None = None) -> None:
    """Send the log to standard error, from ``level`` on. May be called again: the last call holds.

    Raises ValueError for a level that there is not.
    """
    if level.lower() not in LEVELS:
        raise ValueError(f"{level!r} is not a log level; the levels are {', '.join(LEVELS)}")
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines() if json else HumanLines(colours=out.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("flux").setLevel(level.upper())


class HumanLines(logging.Formatter):
    """``2026-11-24T19:33:54.123Z warning flux.rescuer  3 running jobs had lost their worker``.

    In UTC, as every other time that Flux shows: lines of hosts in two time zones can be laid side by side.
    """

    def __init__(self, colours: bool = False) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        level = record.levelname.lower()
        if self._colours and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_RESET}"
        # A line break in a message must not look like a second record.
        text = record.getMessage().replace("\n", "\n    ")
        more = "".join(f" {name}={value}" for name, value in _extra(record).items())
        line = f"{_at(record, 'milliseconds')} {level} {record.name}  {text}{more}"
        return line + _trace(self, record, "\n")


class JsonLines(logging.Formatter):
    """``{"at": …, "level": …, "logger": …, "message": …, …}``."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        line: dict[str, object] = {
            "at": _at(record, "microseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if trace := _trace(self, record, ""):
            line["traceback"] = trace
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except (TypeError, ValueError, RecursionError):
            # An extra value that has no form in JSON (half a surrogate, a key that is no text) must not lose the line.
            return msgspec.json.encode({name: ascii(value) for name, value in line.items()}).decode()


def _at(record: logging.LogRecord, to: str) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec=to).replace("+00:00", "Z")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _trace(formatter: logging.Formatter, record: logging.LogRecord, before: str) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return before + "\n".join(parts) if parts else ""


__all__ = ["LEVELS", "HumanLines", "JsonLines", "configure_logging"]
