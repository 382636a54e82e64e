"""What bounds an evaluation: the CEL interpreter itself has no limit, so comprehensions are made to report to this.

Every body of a comprehension is wrapped so that it asks before each element, and hands over what it makes. Costs
are counted, not timed: the same expression over the same values always gets as far.

One unit is about 0.1 us. The interpreter copies whatever a body names each time, and for each element all that a
``map`` or ``filter`` has made so far (10,000 elements took 6 s): copies are what is charged for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flux.domain.workflow.references import Path, References

BUDGET: Final = 10_000_000
"""Units of one evaluation, which took up to 2 s of processor time whatever was tried. 4,000 numbers in a plain
``map`` use it up, or 1,000 objects of three fields."""

ASK: Final = "flux_ask"
MADE: Final = "flux_made"

_PER_ELEMENT: Final = 20
_PER_NAMED: Final = 3
_PER_MADE: Final = 20
_PER_PATTERN: Final = 2_000


class Meter:
    """Counts one evaluation. ``exhausted`` says whether it was cut off."""

    def __init__(self, references: References, weigh: Callable[[Path], int]) -> None:
        """``weigh`` tells the weight of what stands at a path."""
        macros = references.macros
        weights = {path: weigh(path) for path in references.paths}
        self._macros = macros
        self._named = [sum(weights[path] for path in macro.paths) for macro in macros]
        self._made = [0] * len(macros)
        self._element = [0] * len(macros)
        self._inner = [
            [i for i, macro in enumerate(macros) if macro.outer == outer] for outer in range(len(macros))
        ]
        self.left = (
            BUDGET
            - sum(weights[path] for path in references.outside) * _PER_NAMED
            - references.pattern * _PER_PATTERN
        )

    @property
    def exhausted(self) -> bool:
        """Whether the evaluation has had its share."""
        return self.left < 0

    def ask(self, number: int, element: object) -> bool:
        """Whether a comprehension may go on with this element."""
        if self.left < 0:
            return False
        macro = self._macros[number]
        self._element[number] = weight(element, self.left)
        for inner in self._inner[number]:
            self._made[inner] = 0
        named = self._named[number] + self._element[number] + sum(self._element[i] for i in macro.variables)
        self.left -= _PER_ELEMENT + self._made[number] + named * _PER_NAMED + macro.pattern * _PER_PATTERN
        if macro.name == "filter":
            self._made[number] += self._element[number]
        return self.left >= 0

    def made(self, number: int, value: Any) -> Any:
        """Take account of an element that a ``map`` made."""
        if self.left >= 0:
            made = weight(value, self.left)
            self._made[number] += made
            self.left -= made * _PER_MADE
        return value


def metered(source: str, references: References) -> str:
    """The expression with every body of a comprehension under the meter. An exhausted one fails with an index error."""
    inserts: list[tuple[int, int, str]] = []
    for body in references.bodies:
        begin, end = ("(", "\n)")  # the line break ends a comment
        if body.makes:
            begin, end = f"{MADE}({body.macro}, ", "\n)"
        if body.guards:
            begin = f"({ASK}({body.macro}, {references.macros[body.macro].variable}) ? {begin}"
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
    """How much work a JSON value is: one a value, four a field, one for 16 characters. Stops past ``most``."""
    total = 0
    waiting = [value]
    while waiting and total <= most:
        inner = waiting.pop()
        total += 1
        if isinstance(inner, str | bytes):
            total += len(inner) >> 4
        elif isinstance(inner, dict):
            waiting.extend(inner.values())
            total += 4 * len(inner) + sum(len(key) >> 4 for key in inner if isinstance(key, str))
        elif isinstance(inner, list | tuple):
            waiting.extend(inner)
    return total
