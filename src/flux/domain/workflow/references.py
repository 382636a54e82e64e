"""What an expression refers to, found in its tokens: names, functions, comprehensions, and whether they are allowed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct, field

from flux.domain.workflow.tokens import Token

ROOTS: Final = ("input", "steps", "workflow", "item", "index")
STEP_FIELDS: Final = ("output", "state", "error")
WORKFLOW_FIELDS: Final = ("id", "name", "state")
MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
FUNCTIONS: Final = frozenset(
    [
        "has",
        "size",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "type",
        "dyn",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
_CONSTANTS: Final = frozenset({"true", "false", "null"})
_OPEN: Final = {"(": ")", "[": "]", "{": "}"}

MAX_COMPREHENSIONS: Final = 10
MAX_COMPREHENSIONS_NESTED: Final = 3
MAX_PATTERN: Final = 200
"""Characters of a pattern of ``matches``, which is compiled anew each time."""

Path = tuple[str, ...]
"""A root and the fields that follow it: ``("steps", "charge", "output", "total")``."""


class Refused(ValueError):
    """An expression that is not allowed; ``at`` is where in its text."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class Body(NamedTuple):
    """The part of a comprehension that is evaluated for each element."""

    begin: int
    end: int
    macro: int
    """The number of its comprehension."""
    makes: bool
    """Whether its value goes into a new list (``map``), and is not just a condition."""
    guards: bool
    """Whether it is the first part evaluated for an element."""


class Macro(Struct):
    """One comprehension. What its body uses is counted without the bodies of comprehensions within."""

    name: str
    variable: str
    outer: int | None
    """The number of the comprehension in whose body this one stands."""
    pattern: int = 0
    """Characters of the patterns that its body matches."""
    paths: list[Path] = field(default_factory=list)
    """The names of the scope that its body uses, each as often as it does."""
    variables: list[int] = field(default_factory=list)
    """The comprehensions whose variables its body uses, its own included, each as often as it does."""


class References(Struct):
    """What the tokens of one expression say of it."""

    paths: set[Path] = field(default_factory=set)
    only_asked: set[Path] = field(default_factory=set)
    """Paths that stand within ``has(...)`` and nowhere else."""
    outside: list[Path] = field(default_factory=list)
    """What is used outside of all comprehensions, each as often as it is."""
    macros: list[Macro] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    pattern: int = 0
    """Characters of all patterns."""
    asked_fields: list[Token] = field(default_factory=list)
    """The last names of ``has(steps.x.output)`` and ``has(steps.x.error)``."""


class _Frame(Struct):
    """One open bracket."""

    closer: str
    call: str = ""
    macro: int | None = None
    argument: int = 0
    begin: int = 0
    opener: int = 0


def find_references(tokens: Sequence[Token]) -> References:
    """Read an expression that parses. Raises ``Refused`` for what no expression of a workflow may say."""
    found = References()
    asked: set[Path] = set()
    frames: list[_Frame] = []
    for i, token in enumerate(tokens):
        previous = tokens[i - 1] if i else None
        if token.kind == "name":
            _name(tokens, i, previous, frames, found, asked)
        elif token.kind == "symbol":
            if token.text in _OPEN:
                _open(tokens, i, previous, frames, found)
            elif token.text == "," and frames and frames[-1].call:
                _argument_ends(frames[-1], token.at, found, last=False)
                frames[-1].argument += 1
                frames[-1].begin = token.end
            elif frames and token.text == frames[-1].closer:
                frame = frames.pop()
                if frame.call:
                    _argument_ends(frame, token.at, found, last=True)
                if frame.call == "matches":
                    _pattern(tokens, i, frames, found)
    found.only_asked = asked - found.paths
    found.paths |= asked
    return found


def _open(
    tokens: Sequence[Token], i: int, previous: Token | None, frames: list[_Frame], found: References
) -> None:
    token = tokens[i]
    frame = _Frame(_OPEN[token.text], begin=token.end, opener=i)
    if token.text == "{" and previous is not None and previous.kind == "name" and previous.text != "in":
        raise Refused(f"{previous.text}{{...}} would be a message, and there are none here", previous.at)
    if token.text == "(" and previous is not None and previous.kind == "name" and previous.text != "in":
        frame.call = previous.text
        method = i >= 2 and tokens[i - 2].text == "."
        if previous.text in MACROS:
            if not method:
                raise Refused(f"{previous.text} belongs to a list: list.{previous.text}(x, ...)", previous.at)
            frame.macro = _begin_macro(tokens, i, previous, frames, found)
        elif previous.text not in FUNCTIONS:
            raise Refused(
                f"there is no function {previous.text}; there are {', '.join(sorted(FUNCTIONS | {*MACROS}))}",
                previous.at,
            )
    frames.append(frame)


def _begin_macro(
    tokens: Sequence[Token], i: int, name: Token, frames: list[_Frame], found: References
) -> int | None:
    variable = tokens[i + 1]
    if variable.kind != "name" or tokens[i + 2].text != ",":
        raise Refused(f"{name.text} takes a name and an expression: list.{name.text}(x, ...)", name.at)
    if variable.text in ROOTS:
        raise Refused(f"{variable.text} already means something here; choose another name", variable.at)
    if len(found.macros) == MAX_COMPREHENSIONS:
        raise Refused(f"has more than {MAX_COMPREHENSIONS} comprehensions ({', '.join(MACROS)})", name.at)
    if len(_bodies(frames)) >= MAX_COMPREHENSIONS_NESTED:
        raise Refused(f"nests comprehensions more than {MAX_COMPREHENSIONS_NESTED} deep", name.at)
    outer = _bodies(frames)
    found.macros.append(Macro(name.text, variable.text, outer[-1] if outer else None))
    return len(found.macros) - 1


def _bodies(frames: Sequence[_Frame]) -> list[int]:
    """The comprehensions in whose bodies we are."""
    return [frame.macro for frame in frames if frame.macro is not None and frame.argument >= 1]


def _argument_ends(frame: _Frame, at: int, found: References, *, last: bool) -> None:
    if frame.macro is None or frame.argument == 0:
        return
    name = found.macros[frame.macro].name
    found.bodies.append(
        Body(frame.begin, at, frame.macro, makes=name == "map" and last, guards=frame.argument == 1)
    )


def _name(
    tokens: Sequence[Token],
    i: int,
    previous: Token | None,
    frames: list[_Frame],
    found: References,
    asked: set[Path],
) -> None:
    token = tokens[i]
    called = i + 1 < len(tokens) and tokens[i + 1].text == "("
    if previous is not None and previous.text == ".":
        if i < 2 or not _ends_operand(tokens[i - 2]):
            raise Refused("a name cannot begin with a dot", previous.at)
        return
    if called or token.text in _CONSTANTS or token.text == "in":
        return
    for frame in reversed(frames):
        if frame.macro is not None and found.macros[frame.macro].variable == token.text:
            for macro in _bodies(frames)[-1:]:
                found.macros[macro].variables.append(frame.macro)
            return
    if token.text not in ROOTS:
        raise Refused(f"there is no {token.text} here; there are {', '.join(ROOTS)}", token.at)
    path, after = _path(tokens, i)
    check_path(path, token.at)
    in_has = bool(frames) and frames[-1].call == "has"
    (asked if in_has else found.paths).add(path)
    if in_has and path[0] == "steps" and len(path) == 3 and path[2] != "state":
        last = tokens[after - 1]
        if last.kind == "name":
            found.asked_fields.append(last)
    body = _bodies(frames)
    (found.macros[body[-1]].paths if body else found.outside).append(path)


def _ends_operand(token: Token) -> bool:
    return (token.kind in ("string", "name") and token.text != "in") or token.text in (")", "]", "}")


def _path(tokens: Sequence[Token], i: int) -> tuple[Path, int]:
    """The fields that follow a root for certain, and where the tokens go on. A method's name is no field."""
    path = [tokens[i].text]
    i += 1
    while i + 1 < len(tokens):
        if tokens[i].text == "." and tokens[i + 1].kind == "name":
            if i + 2 < len(tokens) and tokens[i + 2].text == "(":
                break
            path.append(tokens[i + 1].text)
            i += 2
        elif tokens[i].text == "[" and i + 2 < len(tokens) and tokens[i + 2].text == "]":
            key = plain_string(tokens[i + 1])
            if key is None:
                break
            path.append(key)
            i += 3
        else:
            break
    return tuple(path), i


def plain_string(token: Token) -> str | None:
    """The value of a string token without prefix or escapes; None for every other."""
    text = token.text
    if token.kind != "string" or "\\" in text or text[0] not in "'\"" or text[:3] in ("'''", '"""'):
        return None
    return text[1:-1]


def check_path(path: Path, at: int) -> None:
    """Whether there is such a thing, as far as is known before a run. Raises ``Refused``."""
    root = path[0]
    if root == "steps":
        if len(path) == 1:
            raise Refused('must name a step in full: steps.name or steps["name"]', at)
        step = path[1]
        shown = f"steps.{step}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", step) else f'steps["{step}"]'
        if len(path) == 2 or path[2] not in STEP_FIELDS:
            what = f"{shown} has no {path[2]}; it" if len(path) > 2 else f"{shown} alone says nothing: a step"
            raise Refused(f"{what} has {', '.join(STEP_FIELDS)}", at)
    elif root == "workflow" and (len(path) == 1 or path[1] not in WORKFLOW_FIELDS):
        raise Refused(f"workflow has {', '.join(WORKFLOW_FIELDS)}: write workflow.id", at)


def _pattern(tokens: Sequence[Token], i: int, frames: list[_Frame], found: References) -> None:
    """The pattern is known at the door: what it costs to compile has to be."""
    token = tokens[i - 1]
    pattern = plain_string(token) if token.text[:1] not in "rR" else token.text[2:-1]
    if token.kind != "string" or tokens[i - 2].text not in ("(", ","):
        raise Refused("the pattern of matches must be a string as it stands, not computed", token.at)
    length = len(pattern if pattern is not None else token.text)
    if length > MAX_PATTERN:
        raise Refused(f"the pattern of matches has more than {MAX_PATTERN} characters", token.at)
    if re.search(r"\{\s*[0-9]", token.text):
        raise Refused("the pattern of matches must not count repetitions ({3}): write them out", token.at)
    found.pattern += length
    for macro in _bodies(frames)[-1:]:
        found.macros[macro].pattern += length
