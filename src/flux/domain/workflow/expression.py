"""One expression: compiled, checked, and evaluated within bounds.

The language is CEL (the Common Expression Language). The package that runs it knows no positions at run time, keeps
the interpreter's lock while it works and has no limits; the bounds are ours (``meter.py``), and what an expression
does not name is never handed to it (``scope.py``). An expression that is only a path needs no interpreter.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from flux.domain.duration import format_duration, format_instant, parse_duration, parse_instant
from flux.domain.errors import FluxError
from flux.domain.workflow.meter import ASK, MADE, Meter, metered, weight
from flux.domain.workflow.references import (
    ROOTS,
    Path,
    References,
    Refused,
    check_path,
    find_references,
)
from flux.domain.workflow.scope import Missing, Scope, look_up, project
from flux.domain.workflow.tokens import Token, tokens

if TYPE_CHECKING:
    from cel import Program

MAX_LENGTH: Final = 4_096
"""Characters of one expression."""
MAX_TOKENS: Final = 600
MAX_BRACKETS: Final = 24
"""Brackets open at once. The parser itself ends at 96 levels, of which a bracket may take three."""
MAX_VALUE: Final = 1 << 18
"""The weight (``meter.weight``) of what goes into the interpreter, and of what comes out: some 4 MiB of JSON."""
CHEAP: Final = 2_000
"""The weight of values that an expression without comprehensions handles within a millisecond."""


class ExpressionError(FluxError):
    """An expression that cannot be compiled, or that failed on the values at hand.

    ``source`` is its text, ``line`` and ``column`` (from 1) say where in the string around it.
    """

    def __init__(self, message: str, source: str, line: int, column: int) -> None:
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        super().__init__(f"{_shown(source)} at line {line}, column {column}: {message}")


class Expression:
    """A compiled expression. It keeps nothing of what it was evaluated with."""

    __slots__ = ("_path", "_program", "_references", "column", "line", "paths", "source", "steps", "uses")

    source: str
    """The text between ``${{`` and ``}}``."""
    line: int
    column: int
    steps: frozenset[str]
    """The steps that it names."""
    uses: frozenset[str]
    """Which of ``input``, ``steps``, ``workflow``, ``item``, ``index`` it names."""
    paths: frozenset[Path]
    """What it reads, as far as that stands in it."""

    def __init__(
        self, source: str, line: int, column: int, references: References, path: Path | None
    ) -> None:
        self.source = source
        self.line = line
        self.column = column
        self.paths = frozenset(references.paths)
        self.steps = frozenset(path[1] for path in self.paths if path[0] == "steps")
        self.uses = frozenset(path[0] for path in self.paths)
        self._references = references
        self._path = path
        self._program: Program | None = None

    def wants_output(self, step: str) -> bool:
        """Whether it makes use of this step's output, and does not just ask whether there is one."""
        wanted = self.paths - self._references.only_asked
        return any(path[:3] == ("steps", step, "output") for path in wanted)

    def is_cheap(self, scope: Scope) -> bool:
        """Whether it is evaluated within a millisecond or so, on these values: good enough for an event loop."""
        if self._path is not None:
            return True
        found = self._references
        return not found.macros and not found.pattern and weight(project(scope, self.paths), CHEAP) <= CHEAP

    def evaluate(self, scope: Scope) -> Any:
        """The value, as JSON's values in Python. Raises ``ExpressionError``.

        Timestamps and durations become texts as Flux writes them, a uint an integer. Bytes, NaN, infinity and
        objects whose keys are no strings have no form in JSON, and are an error.
        """
        if self._path is not None:
            try:
                return look_up(scope, self._path)
            except Missing as error:
                raise self._error(str(error)) from None
        values = project(scope, self.paths)
        if weight(values, MAX_VALUE) > MAX_VALUE:
            raise self._error("the values that it names are too large for an expression; name a part of them")
        result = self._run(scope, values)
        if weight(result, MAX_VALUE) > MAX_VALUE:
            raise self._error("its value is too large")
        try:
            return _as_json(result)
        except ValueError as error:
            raise self._error(str(error)) from None

    def _run(self, scope: Scope, values: dict[str, Any]) -> Any:
        from cel import Context

        program = self._program
        if program is None:
            program = self._program = _compiled(metered(self.source, self._references))
        meter = Meter(self._references, lambda path: _weight_at(scope, path))
        if meter.exhausted:
            raise self._error(_TOO_MUCH)
        functions = {ASK: meter.ask, MADE: meter.made} if self._references.macros else {}
        try:
            result = program.execute(Context(values, functions))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            if meter.exhausted:
                raise self._error(_TOO_MUCH) from None
            raise self._error(self._reason(error, scope)) from None
        if meter.exhausted:
            # A condition that fails for one element may be outvoted by the others.
            raise self._error(_TOO_MUCH)
        return result

    def _reason(self, error: BaseException, scope: Scope) -> str:
        text = str(error)
        match error:
            case KeyError():
                return self._missing(scope, text.strip("'")) or f"there is no key {text}"
            case IndexError() | ZeroDivisionError() | OverflowError():
                return text.removesuffix(" in CEL expression")
            case TypeError():
                if reason := self._missing(scope, None):
                    return reason
                return (
                    f"mixes types ({text.split(': CEL does')[0].split('. CEL does')[0][:200]}). {_NO_MIXING}"
                )
        if text.startswith("Undefined variable or function: "):
            unknown = text.split("'")[1]
            if unknown in ("item", "index"):
                return f"there is no {unknown} outside of a for_each"
            return f"{unknown} is not defined for these values"
        return text.removesuffix(" Check function arguments and their types.")[:300]

    def _missing(self, scope: Scope, key: str | None) -> str | None:
        """The first of its paths that ends at this missing key, or, without one, at something that has no keys."""
        for path in sorted(self.paths - self._references.only_asked):
            try:
                look_up(scope, path)
            except Missing as error:
                if (error.name == key) if key is not None else not error.keyed:
                    return str(error)
        return None

    def _error(self, message: str) -> ExpressionError:
        return ExpressionError(message, self.source, self.line, self.column)


_TOO_MUCH: Final = (
    "takes too many steps over these values: it was cut off; let a job do it, or go through fewer elements"
)
_NO_MIXING: Final = (
    "CEL converts nothing by itself: a JSON number without a fraction is an int, so write double(...) around it "
    "to compare or add it with one that has a fraction, and string(...) to join it to a text"
)

# Nearly all expressions are only a path, and a definition may have ten thousand of them.
_PATH: Final = re.compile(
    rf"""\s*(?P<root>{"|".join(ROOTS)})(?P<rest>(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:"[^"\\\n\r]*"|'[^'\\\n\r]*')\])*)\s*"""
)


_PART: Final = re.compile(r"""([A-Za-z_][A-Za-z0-9_]*)|("[^"]*"|'[^']*')""")


def compile_expression(source: str, line: int = 1, column: int = 1) -> Expression:
    """Read an expression that begins at this line and column. Raises ``ExpressionError``, with its own place."""
    if len(source) > MAX_LENGTH:
        raise ExpressionError(
            f"has {len(source)} characters; an expression has at most {MAX_LENGTH}", source, line, column
        )
    try:
        references, path = _understood(source)
    except Refused as refused:
        raise ExpressionError(str(refused), source, *place(source, refused.at, line, column)) from None
    return Expression(source, line, column, references, path)


@lru_cache(2048)
def _understood(source: str) -> tuple[References, Path | None]:
    """What an expression refers to, and its path when it is nothing else. Remembered: steps are often alike."""
    if _PATH.fullmatch(source):
        path = tuple(found[0] or found[1][1:-1] for found in _PART.findall(source))
        check_path(path, len(source) - len(source.lstrip()))
        return References(paths={path}, outside=[path]), path
    found = list(tokens(source))
    _check_bounds(source, found)
    _compiled(source)
    return find_references(found), None


def _check_bounds(source: str, found: list[Token]) -> None:
    if not found:
        raise Refused("is empty", 0)
    if found[-1].kind == "bad":
        token = found[-1]
        what = (
            "a string that is not closed"
            if token.text in "'\""
            else f"{token.text!r}, which CEL does not know"
        )
        raise Refused(f"does not parse: here is {what}", token.at)
    if len(found) > MAX_TOKENS:
        raise Refused(f"has more than {MAX_TOKENS} names, values and signs", found[MAX_TOKENS].at)
    depth = 0
    for token in found:
        if token.kind == "symbol":
            depth += (token.text in "([{") - (token.text in ")]}")
            if depth > MAX_BRACKETS:
                raise Refused(f"has more than {MAX_BRACKETS} brackets open at once", token.at)


_WHERE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_EXPECTING: Final = re.compile(r" expecting (?:\{.*|(?P<one>'[^']*'|<EOF>)).*")


def _compiled(source: str) -> Program:
    # Half of a second at its first use, for a command line that comes with it.
    from cel import compile as compile_cel

    try:
        return compile_cel(source)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise _parse_problem(source, str(error)) from None


def _parse_problem(source: str, text: str) -> Refused:
    # The text quotes the expression, which may itself look like an error's line.
    found = _WHERE.findall(text.split(f"'{source}': ", 1)[-1])
    if not found or "Recursion limit" in text:
        return Refused("is nested too deep", 0)
    # The first one may only follow from a later one: "Incomplete `ExprContext`".
    line, column, message = next((one for one in found if "Incomplete" not in one[2]), found[0])
    message = message.removeprefix("Syntax error: ")
    message = _EXPECTING.sub(lambda match: f", expected {match['one']}" if match["one"] else "", message)
    message = re.sub("(?:mismatched|extraneous) input", "unexpected", message)
    message = message.replace("'<EOF>'", "end").replace("<EOF>", "the end")
    lines = source.split("\n")
    at = sum(len(before) + 1 for before in lines[: int(line) - 1]) + int(column) - 1
    return Refused(f"does not parse: {message[:200]}", min(at, len(source)))


def place(text: str, at: int, line: int = 1, column: int = 1) -> tuple[int, int]:
    """The line and column of a place in a text that itself begins at a line and column."""
    before = text[:at]
    breaks = before.count("\n")
    return (line + breaks, at - before.rfind("\n")) if breaks else (line, column + at)


def _weight_at(scope: Scope, path: Path) -> int:
    try:
        return weight(look_up(scope, path), MAX_VALUE)
    except Missing:
        return 0


def _as_json(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"its value is {value}, which has no form in JSON")
            return value
        case list() | tuple():
            return [_as_json(inner) for inner in value]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(f"an object's keys must be strings in JSON; write string({key!r})")
            return {key: _as_json(inner) for key, inner in value.items()}
        case datetime():
            return format_instant(parse_instant(value))
        case timedelta():
            return format_duration(parse_duration(value))
        case bytes():
            raise ValueError("its value is bytes, which have no form in JSON; write string(...)")
    raise ValueError(f"its value is a {type(value).__name__}, which has no form in JSON")


def _shown(source: str) -> str:
    text = " ".join(source.split())
    return "${{ " + (text if len(text) <= 120 else text[:117] + "...") + " }}"


__all__ = ["Expression", "ExpressionError", "compile_expression", "place"]
