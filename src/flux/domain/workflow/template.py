"""Strings with ``${{ ... }}`` in them, and values that hold such strings: taken apart, and filled in.

A string that is one expression gives the expression's value with its type. In a longer one each value is written into
the text: strings as they are, everything else as JSON. ``$${{`` stands for a literal ``${{``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec

from flux.domain.workflow.expression import (
    MAX_LENGTH,
    MAX_VALUE,
    Expression,
    ExpressionError,
    compile_expression,
    place,
)
from flux.domain.workflow.meter import weight
from flux.domain.workflow.scope import Scope
from flux.domain.workflow.tokens import tokens

OPEN: Final = "${{"
CLOSE: Final = "}}"
MAX_IN_STRING: Final = 100
"""Expressions in one string."""


class Template:
    """A string taken apart."""

    __slots__ = ("parts",)

    def __init__(self, parts: tuple[str | Expression, ...]) -> None:
        self.parts = parts

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions in it, in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def whole(self) -> Expression | None:
        """The expression that is the whole string, with nothing around it."""
        return self.parts[0] if len(self.parts) == 1 and isinstance(self.parts[0], Expression) else None

    def fill(self, scope: Scope) -> Any:
        """The value of the string. Raises ``ExpressionError``."""
        if self.whole is not None:
            return self.whole.evaluate(scope)
        return "".join(
            part if isinstance(part, str) else _written(part.evaluate(scope)) for part in self.parts
        )


def _written(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def parse_template(text: str) -> Template:
    """Take a string apart. Raises ``ExpressionError`` for an expression that cannot be."""
    if OPEN not in text:
        return Template((text,))
    return _parsed(text) if len(text) <= MAX_LENGTH else _take_apart(text)


def _take_apart(text: str) -> Template:
    parts: list[str | Expression] = []
    literal = ""
    at = count = 0
    while (found := text.find(OPEN, at)) >= 0:
        if found > at and text[found - 1] == "$":
            literal += text[at : found - 1] + OPEN
            at = found + len(OPEN)
            continue
        literal += text[at:found]
        if literal:
            parts.append(literal)
            literal = ""
        begin = found + len(OPEN)
        count += 1
        if count > MAX_IN_STRING:
            message = f"stands in a string with more than {MAX_IN_STRING} expressions"
            raise ExpressionError(message, text[begin : begin + 60], *place(text, begin))
        end = _end(text, begin)
        parts.append(compile_expression(text[begin:end], *place(text, begin)))
        at = end + len(CLOSE)
    literal += text[at:]
    if literal:
        parts.append(literal)
    return Template(tuple(parts))


_parsed = lru_cache(4096)(_take_apart)


_PLAIN: Final = re.compile(r"""[^"'{}/]*\}\}""")
"""Up to a ``}}`` before which no string, object or comment has begun."""


def _end(text: str, begin: int) -> int:
    """Where the expression's ``}}`` stands: not in a string, and not where it closes two objects."""
    if plain := _PLAIN.match(text, begin):
        return plain.end() - len(CLOSE)
    depth = 0
    for token in tokens(text[begin : begin + MAX_LENGTH + len(CLOSE)]):
        if token.kind == "bad":
            # The compiler says what is wrong, when it is given no more than what may be meant.
            close = text.find(CLOSE, begin)
            if close >= 0:
                return close
            break
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                if text.startswith(CLOSE, begin + token.at):
                    return begin + token.at
                break
            depth -= 1
    source = text[begin : begin + 60]
    raise ExpressionError(
        f"has no }}}} that ends it within {MAX_LENGTH} characters (write $${{{{ for a literal ${{{{)",
        source,
        *place(text, begin),
    )


def templates_in(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Each string in a value that may hold expressions, with its place: ``("steps.a.payload.to[0]", "...")``."""
    waiting = [(at, value)]
    while waiting:
        here, inner = waiting.pop()
        if isinstance(inner, str):
            if OPEN in inner:
                yield here, inner
        elif isinstance(inner, dict):
            waiting.extend((f"{here}.{key}", item) for key, item in reversed(inner.items()))
        elif isinstance(inner, list | tuple):
            waiting.extend((f"{here}[{i}]", item) for i, item in reversed(list(enumerate(inner))))


def fill(value: Any, scope: Scope, most: int = MAX_VALUE) -> Any:
    """A JSON value with every expression in it replaced by what it gives. Raises ``ExpressionError``.

    ``most`` bounds the weight (``meter.weight``) of all that expressions give together. Keys are left as they are.
    """
    left = most

    def filled(inner: Any) -> Any:
        nonlocal left
        if isinstance(inner, str):
            if OPEN not in inner:
                return inner
            template = parse_template(inner)
            given = template.fill(scope)
            left -= weight(given, max(left, 0))
            if left < 0:
                first = template.expressions[0] if template.expressions else None
                if first is not None:
                    raise ExpressionError(
                        "with this the expressions give too large a value",
                        first.source,
                        first.line,
                        first.column,
                    )
            return given
        if isinstance(inner, dict):
            return {key: filled(item) for key, item in inner.items()}
        if isinstance(inner, list | tuple):
            return [filled(item) for item in inner]
        return inner

    return filled(value)


def all_cheap(value: Any, scope: Scope) -> bool:
    """Whether all expressions in a value together can be evaluated on an event loop."""
    found = [text for _, text in templates_in(value, "")]
    return len(found) <= _FEW and all(
        expression.is_cheap(scope) for text in found for expression in parse_template(text).expressions
    )


_FEW: Final = 20
