"""The refusals of one definition: gathered, and bounded, since each costs time and somebody has to read them."""

from __future__ import annotations

from collections.abc import Iterable

from flux.domain.errors import FieldError

MOST = 100
"""Refusals that are told at once."""


class Enough(Exception):
    """There are as many refusals as are told at once: looking on is no use."""


class Refusals(list[FieldError]):
    """What is wrong so far. Adding raises ``Enough`` with the one past ``MOST``."""

    def add(self, field: str, message: str) -> None:
        """One more wrong field."""
        self.add_all((FieldError(field, message),))

    def add_all(self, errors: Iterable[FieldError]) -> None:
        """More wrong fields."""
        for error in errors:
            if len(self) == MOST:
                self.append(FieldError("definition", f"has more to mend than these {MOST}"))
                raise Enough
            self.append(error)
