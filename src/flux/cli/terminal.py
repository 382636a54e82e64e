"""What a command prints: JSON for programs, tables and progress for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec

from flux.cli.failures import CommandError, ExitCode
from flux.domain.duration import HOUR, MINUTE, SECOND, format_duration
from flux.engine.waiting import clock_time


def print_json(document: object) -> None:
    """One document, indented where a person may read it."""
    raw = msgspec.json.encode(document)
    if sys.stdout.isatty():
        raw = msgspec.json.format(raw, indent=2)
    sys.stdout.write(raw.decode() + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Rows under their columns; on a terminal by rich, when that is installed."""
    if not rows:
        print(empty)
        return
    if sys.stdout.isatty() and _rich_table(columns, rows):
        return
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [[column.upper() for column in columns], *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def print_fields(fields: Sequence[tuple[str, str | None]]) -> None:
    """One thing, a line for each of its fields that says something."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *more = value.splitlines()
        print(f"{name.ljust(width)}  {first}")
        for line in more:
            print(f"{' ' * width}  {line}")


def say(text: str) -> None:
    """A remark for a person, beside the result."""
    print(text, file=sys.stderr)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something large. Without a terminal to ask on, ``--yes`` is wanted."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} --yes says so without a terminal", ExitCode.USAGE)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done")


class Bar(Protocol):
    """How far some work has come."""

    def advance(self, count: int) -> None:
        """So much more is done."""
        ...


class _NoBar:
    def advance(self, count: int) -> None:
        """Nobody looks."""


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Bar]:
    """A progress bar on stderr when that is a terminal and rich is installed, nothing otherwise."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _NoBar()
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _NoBar()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(what, total=total)

        class _Bar:
            def advance(self, count: int) -> None:
                bars.advance(task, count)

        yield _Bar()


def show_time(us: int | None) -> str:
    """An instant to the second, in the form that every option takes too; empty for none."""
    return "" if us is None else clock_time(us)


def show_age(us: int | None, now: int) -> str:
    """How long ago or ahead an instant is, in one unit that a person needs."""
    if us is None:
        return ""
    distance = abs(now - us)
    for size in (24 * HOUR, HOUR, MINUTE, SECOND):
        if distance >= size:
            text = format_duration(distance - distance % size)
            return f"{text} ago" if us <= now else f"in {text}"
    return "now"


def shorten(text: str, most: int = 60) -> str:
    """The first line of a text, cut where a table would break."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    console = Console()
    fixed = [max(len(row[i]) for row in [columns, *rows]) + 3 for i in range(len(columns) - 1)]
    if sum(fixed) + 10 > console.width:
        # An id that is cut or folded cannot be copied: a line that runs over is better.
        return False
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    console.print(table)
    return True


_STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "retrying": "yellow",
    "dead": "red",
    "cancelled": "dim",
    "paused": "yellow",
}
