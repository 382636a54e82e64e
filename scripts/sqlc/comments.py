"""What the migrations say about what they make: the comment that stands right above each CREATE."""

from __future__ import annotations

import re
from typing import Final

from scripts.sqlc.sources import PROJECT, STORES

_CREATE: Final = re.compile(r"CREATE (?:OR REPLACE |UNIQUE )?(?:TABLE|INDEX|FUNCTION|SEQUENCE) ([a-z_0-9.]+)")


class Comments:
    """By name: those of tables, functions and sequences with their schema, those of indexes without."""

    def __init__(self) -> None:
        self.head = ""
        """What the first migration begins with."""
        self._text: dict[str, str] = {}
        self._place: dict[str, str] = {}
        for file in sorted((STORES / "postgres" / "migrations").glob("*.up.sql")):
            above: list[str] = []
            for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
                if line.startswith("--"):
                    above.append(line.removeprefix("--").strip())
                    continue
                made = _CREATE.match(line)
                if made is not None:
                    self._text[made[1]] = " ".join(above)
                    self._place[made[1]] = f"{file.relative_to(PROJECT)}:{number}"
                elif not self._text and above:
                    self.head = self.head or " ".join(above)
                above = []

    def of(self, name: str) -> str:
        """What is said about it; empty when nothing is."""
        return self._text.get(name, "")

    def place(self, name: str) -> str:
        """Where it is made."""
        return self._place.get(name, "")
