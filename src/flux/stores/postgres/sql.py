"""The statements: read from ``queries/*.sql``, each under its ``-- name:``, so that they can be read and EXPLAINed.

Parameters are written by name (``@ids``) and numbered here, in the order of their first mention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

_PARAMETER: Final = re.compile(r"@([a-z][a-z0-9_]*)")


class Statement:
    """One statement, and the names of its parameters."""

    __slots__ = ("name", "parameters", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.parameters: tuple[str, ...] = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        number = {parameter: f"${place}" for place, parameter in enumerate(self.parameters, 1)}
        self.text = _PARAMETER.sub(lambda found: number[found[1]], text)

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of their numbers."""
        return [values[name] for name in self.parameters]


class Statements:
    """The statements of one file, by name."""

    def __init__(self, file: str) -> None:
        self.all: dict[str, Statement] = {}
        text = files("flux.stores.postgres").joinpath("queries", file).read_text("utf-8")
        for part in text.split("-- name:")[1:]:
            name, _, body = part.partition("\n")
            # A comment between two statements belongs to the one that follows.
            lines = [line for line in body.splitlines() if not line.startswith("--")]
            self.all[name.strip()] = Statement(name.strip(), "\n".join(lines).strip().rstrip(";"))

    def __getitem__(self, name: str) -> Statement:
        return self.all[name]


def is_uuid(text: str) -> bool:
    """Whether the database takes a text for an id; hints, and what people ask for, may be anything."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
