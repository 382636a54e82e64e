"""Values that only a run will know: written in Python, they become the expressions of a definition.

``charge.output.total > 0`` is no comparison made now but the text ``steps.charge.output.total > 0``, which the run
evaluates. What a value has is checked as far as its type is known, so that a misspelt field is found while one writes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from difflib import get_close_matches
from types import UnionType
from typing import Any, Final, NoReturn, Union, get_args, get_origin, get_type_hints

import msgspec

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
# Names that stand for something else in an expression, so that a field of that name is asked for by ["..."].
_RESERVED: Final = frozenset(
    [
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    ]
)  # fmt: skip
# Private use: nobody writes these, so that what a value left in a text is told from what stood there before.
BEGIN: Final = "\ue000"
END: Final = "\ue001"

_TIGHTEST: Final = 10


class Value:
    """Something a run will know. Fields and items are taken as from the value itself.

    Comparisons and arithmetic give values again; ``&``, ``|`` and ``~`` stand for and, or and not. In an f-string, or
    anywhere in the arguments of a step, it is filled in when the step runs.
    """

    __slots__ = ("_expression", "_tightness", "_type")

    def __init__(self, expression: str, type: Any = None, tightness: int = _TIGHTEST) -> None:
        self._expression = expression
        self._type = type
        self._tightness = tightness

    # --- what it has ---

    def __getattr__(self, name: str) -> Value:
        if name.startswith("__"):
            raise AttributeError(name)
        known = _fields(self._type)
        if known is not None and name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(known)}"
            raise AttributeError(f"{source(self)} is a {_shown(self._type)} and has no {name}{hint}")
        plain = _WORD(name) and name not in _RESERVED
        path = f".{name}" if plain else f"[{literal(name)}]"
        return Value(_operand(self, _TIGHTEST) + path, known[name] if known else None)

    def __getitem__(self, key: Any) -> Value:
        if isinstance(key, str) and _fields(self._type) is not None:
            return self.__getattr__(key)
        if isinstance(key, slice):
            raise TypeError("a value of a workflow has items, and no slices")
        inner = _item_type(self._type)
        return Value(f"{_operand(self, _TIGHTEST)}[{literal(key)}]", inner)

    # --- operators, by how tightly they bind in CEL ---

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return _binary(self, "==", other, 4, bool)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return _binary(self, "!=", other, 4, bool)

    def __lt__(self, other: object) -> Value:
        return _binary(self, "<", other, 4, bool)

    def __le__(self, other: object) -> Value:
        return _binary(self, "<=", other, 4, bool)

    def __gt__(self, other: object) -> Value:
        return _binary(self, ">", other, 4, bool)

    def __ge__(self, other: object) -> Value:
        return _binary(self, ">=", other, 4, bool)

    def __add__(self, other: object) -> Value:
        return _binary(self, "+", other, 5)

    def __radd__(self, other: object) -> Value:
        return _binary(other, "+", self, 5)

    def __sub__(self, other: object) -> Value:
        return _binary(self, "-", other, 5)

    def __rsub__(self, other: object) -> Value:
        return _binary(other, "-", self, 5)

    def __mul__(self, other: object) -> Value:
        return _binary(self, "*", other, 6)

    def __rmul__(self, other: object) -> Value:
        return _binary(other, "*", self, 6)

    def __truediv__(self, other: object) -> Value:
        return _binary(self, "/", other, 6)

    def __rtruediv__(self, other: object) -> Value:
        return _binary(other, "/", self, 6)

    def __mod__(self, other: object) -> Value:
        return _binary(self, "%", other, 6)

    def __rmod__(self, other: object) -> Value:
        return _binary(other, "%", self, 6)

    def __and__(self, other: object) -> Value:
        return _binary(self, "&&", other, 3, bool)

    def __rand__(self, other: object) -> Value:
        return _binary(other, "&&", self, 3, bool)

    def __or__(self, other: object) -> Value:
        return _binary(self, "||", other, 2, bool)

    def __ror__(self, other: object) -> Value:
        return _binary(other, "||", self, 2, bool)

    def __invert__(self) -> Value:
        return Value(f"!{_operand(self, 7)}", bool, 7)

    def __neg__(self) -> Value:
        return Value(f"-{_operand(self, 8)}", self._type, 7)

    # --- what Python would do at once ---

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{source(self)} is known only when the workflow runs. Combine conditions with & | ~ (and parentheses) "
            "in place of and, or, not; choose with either(condition, one, other) in place of if"
        )

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f"{source(self)} is known only when the workflow runs: go through it with workflow.for_each"
        )

    def __contains__(self, _: object) -> NoReturn:
        raise TypeError(
            f"{source(self)} is known only when the workflow runs: ask with contains(values, one)"
        )

    def __len__(self) -> NoReturn:
        raise TypeError(f"{source(self)} is known only when the workflow runs: its length is size(value)")

    # --- written down ---

    def __flux_json__(self) -> str:
        return f"{BEGIN}{self._expression}{END}"

    def __str__(self) -> str:
        return self.__flux_json__()

    def __format__(self, how: str) -> str:
        if how:
            raise TypeError(
                f"{source(self)} is known only when the workflow runs, and cannot be formatted by {how!r}"
            )
        return self.__flux_json__()

    def __repr__(self) -> str:
        return f"<Value {self._expression}>"


def source(value: Value) -> str:
    """The text of the expression."""
    expression: str = object.__getattribute__(value, "_expression")
    return expression


def type_of(value: Value) -> Any:
    """The type, as far as it is known."""
    return object.__getattribute__(value, "_type")


# --- functions that stand for what operators cannot ---


def size(value: Value) -> Value:
    """How many items, fields or characters it has."""
    return Value(f"size({source(value)})", int)


def has(value: Value) -> Value:
    """Whether the field is there: ``has(charge.output.receipt)``. False for any output of a skipped step."""
    return Value(f"has({source(value)})", bool)


def contains(values: Any, one: Any) -> Value:
    """Whether ``one`` is among these items or these fields."""
    return _binary(one, "in", values, 4, bool)


def either(condition: Value, one: Any, other: Any) -> Value:
    """``one`` if the condition holds, else ``other``; only the one that is chosen is looked at."""
    return Value(f"{_operand(condition, 2)} ? {_operand(one, 2)} : {_operand(other, 1)}", None, 1)


def cel(expression: str, type: Any = None) -> Value:
    """An expression in CEL's own words, with values filled in: ``cel(f"{pick.output}.filter(p, p.heavy)")``."""
    return Value(expression.replace(BEGIN, "").replace(END, ""), type, 0)


def literal(value: Any) -> str:
    """A Python value as CEL writes it. Values inside it stay expressions. Raises ``TypeError``."""
    match value:
        case Value():
            return source(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(value)
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise TypeError("NaN and infinity have no form in an expression")
            written = repr(value)
            return written if "." in written or "e" in written else f"{written}.0"
        case list() | tuple():
            return f"[{', '.join(literal(one) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{literal(key)}: {literal(one)}' for key, one in value.items())}}}"
        case _:
            raise TypeError(f"{type(value).__name__} has no form in an expression")


def _text(text: str) -> str:
    """A string; one that holds values is put together from its parts."""
    if BEGIN not in text:
        return _quoted(text)
    parts = []
    for part in re.split(f"({BEGIN}[^{END}]*{END})", text):
        if part.startswith(BEGIN):
            parts.append(f"string({part[1:-1]})")
        elif part:
            parts.append(_quoted(part))
    return f"({' + '.join(parts)})"


def _quoted(text: str) -> str:
    # As it is: CEL has no surrogate pairs for what is beyond the first plane.
    return json.dumps(text, ensure_ascii=False)


def _binary(left: object, operator: str, right: object, tightness: int, type: Any = None) -> Value:
    # To the right a looser or equal one is put in parentheses: a - (b - c).
    written = f"{_operand(left, tightness)} {operator} {_operand(right, tightness + 1)}"
    return Value(written, type, tightness)


def _operand(value: object, tightness: int) -> str:
    if not isinstance(value, Value):
        return literal(value)
    own: int = object.__getattribute__(value, "_tightness")
    return source(value) if own >= tightness else f"({source(value)})"


# --- types ---


def _fields(type: Any) -> dict[str, Any] | None:
    """The fields of a type that says which it has, with their types; None for all others."""
    type = _without_none(type)
    if isinstance(type, str) or not isinstance(type, _CLASS):
        return None
    if issubclass(type, msgspec.Struct) or dataclasses.is_dataclass(type) or hasattr(type, "__total__"):
        return get_type_hints(type)
    models = getattr(type, "model_fields", None)  # pydantic
    if isinstance(models, dict):
        return {name: field.annotation for name, field in models.items()}
    return None


def _item_type(type: Any) -> Any:
    type = _without_none(type)
    arguments = get_args(type)
    if get_origin(type) in (list, tuple, set, frozenset) and arguments:
        return arguments[0]
    return arguments[1] if get_origin(type) is dict and len(arguments) == 2 else None


def item_of(value: Any) -> Any:
    """The type of what is in a list of values, as far as it is known."""
    return _item_type(type_of(value)) if isinstance(value, Value) else None


def _without_none(type: Any) -> Any:
    if get_origin(type) in (Union, UnionType):
        left = [one for one in get_args(type) if one is not _NONE]
        return left[0] if len(left) == 1 else None
    return type


def _shown(type: Any) -> str:
    return getattr(_without_none(type), "__name__", str(type))


_CLASS: Final = type
_NONE: Final = type(None)
