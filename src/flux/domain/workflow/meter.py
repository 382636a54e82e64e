"""What bounds an evaluation: the CEL interpreter itself has no limit, so comprehensions are made to report to this.

Every body of a comprehension is wrapped so that it asks before each element, and hands over what it makes. Costs
are counted, not timed: the same expression over the same values always gets as far.

One unit is about 0.1 us of a slow machine. The interpreter copies the list that a ``map`` or ``filter`` has made so
far for each element (10,000 elements took 6 s), and the values that a body names; both are charged for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flux.domain.workflow.references import Macro, References

BUDGET: Final = 5_000_000
"""Units of one evaluation: half of a second or so. 3,000 elements of a plain ``map`` use it up."""

ASK: Final = "flux_ask"
MADE: Final = "flux_made"

_PER_ELEMENT: Final = 20
_PER_COPIED: Final = 1
_PER_PATTERN: Final = 2_000
_PER_NODE: Final = 5


class Meter:
    """Counts one evaluation. ``exhausted`` says whether it was cut off."""

    def __init__(self, macros: Sequence[Macro], weights: Sequence[int]) -> None:
        """``weights``: for each comprehension, the weight of all that its body names."""
        self.left = BUDGET
        self.exhausted = False
        self._macros = macros
        self._weights = weights
        self._made = [0] * len(macros)
        self._inner = [[i for i, m in enumerate(macros) if m.outer == outer] for outer in range(len(macros))]

    def ask(self, macro: int) -> bool:
        """Whether a comprehension may go on with its next element."""
        made = self._made[macro]
        self._made[macro] = made + 1
        for inner in self._inner[macro]:
            self._made[inner] = 0
        asked = self._macros[macro]
        self.left -= (
            _PER_ELEMENT
            + (made * _PER_COPIED if asked.name in ("map", "filter") else 0)
            + self._weights[macro]
            + asked.pattern * _PER_PATTERN
        )
        self.exhausted = self.exhausted or self.left < 0
        return not self.exhausted

    def made(self, value: object) -> object:
        """Take account of an element that a ``map`` made."""
        self.left -= weight(value, max(self.left, 0)) * _PER_NODE
        self.exhausted = self.exhausted or self.left < 0
        return value


def metered(source: str, references: References) -> str:
    """The expression with every body of a comprehension under the meter. An exhausted one fails with an index error."""
    inserts: list[tuple[int, int, str]] = []
    for body in references.bodies:
        begin, end = ("(", "\n)")  # the line break ends a comment
        if body.makes:
            begin, end = f"{MADE}(", "\n)"
        if body.guards:
            begin = f"({ASK}({body.macro}) ? {begin}"
            end += " : [false][1])"
        # Of two bodies that end at one place the inner one closes first; it was found first.
        inserts.append((body.begin, 0, begin))
        inserts.append((body.end, 0, end))
    for token in references.asked_fields:
        inserts.append((token.at, len(token.text), HAS_FIELDS[token.text]))
    parts: list[str] = []
    at = 0
    for begin_at, length, text in sorted(inserts, key=lambda insert: insert[0]):
        parts += (source[at:begin_at], text)
        at = begin_at + length
    return "".join(parts) + source[at:]


HAS_FIELDS: Final = {"output": "has_output", "error": "has_error"}
"""What ``has(steps.x.output)`` really looks for: the field itself is always there, and null without an output."""


def weight(value: object, most: int) -> int:
    """How large a JSON value is: one for each value in it, and one for each 16 characters. Stops past ``most``."""
    total = 0
    waiting = [value]
    while waiting and total <= most:
        inner = waiting.pop()
        total += 1
        if isinstance(inner, str | bytes):
            total += len(inner) >> 4
        elif isinstance(inner, dict):
            waiting.extend(inner.values())
            total += sum(len(key) >> 4 for key in inner if isinstance(key, str)) + len(inner)
        elif isinstance(inner, list | tuple):
            waiting.extend(inner)
    return total
