"""The statements: read from ``queries/*.sql``, each under its ``-- name:``, so that they can be read and EXPLAINed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

_SIZES: Final = (512, 64, 8, 1)


class Many:
    """A statement over rows of values.

    Every step of a statement gives the GIL away and has to win it back from a busy event loop, so a thousand rows are
    two steps and not a thousand. Few fixed sizes, so that the prepared statements stay in the connection's cache.
    """

    __slots__ = ("_head", "_template", "_texts", "_width")

    def __init__(self, template: str, row: str) -> None:
        """``row`` is ``(?1, *, *)``: numbered parameters are shared by all rows, each ``*`` is a value of the row."""
        self._template = template
        self._width = row.count("*")
        shared = [int(digits) for digits in _numbers(template + row)]
        self._head = max(shared, default=0)
        self._texts = {size: self._text(row, size) for size in _SIZES}

    def _text(self, row: str, size: int) -> str:
        pieces = row.split("*")
        number = self._head
        rows = []
        for _ in range(size):
            text = pieces[0]
            for piece in pieces[1:]:
                number += 1
                text += f"?{number}{piece}"
            rows.append(text)
        return self._template.replace("{rows}", ", ".join(rows))

    def run(
        self, connection: sqlite3.Connection, shared: Sequence[object], rows: Sequence[Sequence[object]]
    ) -> None:
        """Execute for all rows, in their order."""
        start = 0
        for size in _SIZES:
            text = self._texts[size]
            while len(rows) - start >= size:
                values: list[Any] = list(shared)
                for row in rows[start : start + size]:
                    values += row
                connection.execute(text, values)
                start += size

    def explained(self) -> str:
        """The text for a single row, for EXPLAIN."""
        return self._texts[1]


def _numbers(text: str) -> Iterable[str]:
    for piece in text.split("?")[1:]:
        digits = ""
        for letter in piece:
            if not letter.isdigit():
                break
            digits += letter
        if digits:
            yield digits


class Statements:
    """The statements of one file, by name."""

    def __init__(self, file: str) -> None:
        self.one: dict[str, str] = {}
        self.many: dict[str, Many] = {}
        text = files("flux.stores.sqlite").joinpath("queries", file).read_text("utf-8")
        for part in text.split("-- name:")[1:]:
            name, _, body = part.partition("\n")
            row = ""
            if body.startswith("-- row:"):
                row, _, body = body.removeprefix("-- row:").partition("\n")
            # A comment between two statements belongs to the one that follows; SQLite skips it.
            statement = body.strip().rstrip(";")
            if row:
                self.many[name.strip()] = Many(statement, row.strip())
            else:
                self.one[name.strip()] = statement

    def __getitem__(self, name: str) -> str:
        return self.one[name]


def json_text(value: object) -> str:
    """Any value as JSON text, for a parameter."""
    return msgspec.json.encode(value).decode()


def decoder(type: Any) -> Callable[[str], Any]:
    """Decodes the JSON that a statement answered in one row."""
    return msgspec.json.Decoder(type).decode


def one_value(
    connection: sqlite3.Connection, statement: str, values: Sequence[object] | Mapping[str, object]
) -> Any:
    """The single value of a statement that answers one row; None when it answers none."""
    row = connection.execute(statement, values).fetchone()
    return None if row is None else row[0]
