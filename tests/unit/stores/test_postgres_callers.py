"""Whoever runs a statement of the PostgreSQL store gives it what it takes, and reads from its rows what they have."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from flux.stores import postgres
from flux.stores.postgres.bindings import BINDINGS

FOLDER = Path(postgres.__file__).parent
FILES = [file for file in sorted(FOLDER.rglob("*.py")) if file.name != "bindings.py"]

RUNS = {"fetch", "row", "value", "run", "statement", "hot_statement"}
MANY = {"fetch", "statement", "hot_statement"}


class Use(NamedTuple):
    """A call that runs one of these statements."""

    place: str
    names: list[str]
    call: ast.Call
    verb: str


def names_of(node: ast.expr) -> list[str]:
    """Of ``SQL["name"]`` and ``SQL["one" if … else "other"]``."""
    if not isinstance(node, ast.Subscript):
        return []
    choices = [node.slice.body, node.slice.orelse] if isinstance(node.slice, ast.IfExp) else [node.slice]
    return [one.value for one in choices if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def use_of(file: Path, node: ast.AST | None) -> Use | None:
    """The use that a call is, awaited or not."""
    call = node.value if isinstance(node, ast.Await) else node
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or not call.args:
        return None
    names = names_of(call.args[0])
    if not names or call.func.attr not in RUNS:
        return None
    return Use(f"{file.relative_to(FOLDER)}:{call.lineno}", names, call, call.func.attr)


def uses() -> Iterator[Use]:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            use = use_of(file, node)
            if use is not None and not isinstance(node, ast.Await):
                yield use


def wrong_values(use: Use) -> Iterator[str]:
    given = {keyword.arg for keyword in use.call.keywords if keyword.arg is not None}
    whole = all(keyword.arg is not None for keyword in use.call.keywords)
    for name in use.names:
        taken = set(BINDINGS[name].parameters)
        if given - taken or (whole and taken - given):
            yield f"{use.place}: {name} takes {sorted(taken)}, not {sorted(given)}"


def test_callers_give_what_a_statement_takes() -> None:
    found = list(uses())
    assert len(found) > 80, "the calls are written in another way now"
    assert [line for use in found for line in wrong_values(use)] == []


def test_every_statement_is_run_by_somebody_and_exists() -> None:
    said: set[str] = set()
    asked: set[str] = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    for use in uses():
        asked.update(use.names)
    assert asked <= set(BINDINGS)
    assert set(BINDINGS) <= said


Read = tuple[Use, ast.expr]
"""A use, and what takes one of its rows apart: a tuple of targets, or the number or name of a column."""


def reads(file: Path) -> Iterator[Read]:
    """Those of a file, as far as they stand in the function of the use."""
    tree = ast.parse(file.read_text("utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from reads_in(file, list(inside(function)))


def reads_in(file: Path, nodes: list[ast.AST]) -> Iterator[Read]:
    assigns = [node for node in nodes if isinstance(node, ast.Assign)]
    rows: dict[str, Use] = {}
    many: dict[str, list[Use]] = {}
    for assign in assigns:
        use, target = use_of(file, assign.value), assign.targets[0]
        if use is not None and use.verb == "row" and isinstance(target, ast.Tuple):
            yield use, target
        elif use is not None and isinstance(target, ast.Name):
            if use.verb == "row":
                rows[target.id] = use
            elif use.verb in MANY:
                many.setdefault(target.id, []).append(use)
    for assign in assigns:
        if isinstance(assign.value, ast.Name) and assign.value.id in rows:
            yield rows[assign.value.id], assign.targets[0]
    for name, use in rows.items():
        yield from ((use, column) for column in columns_of(name, nodes))
    for iterated, target, body in loops(nodes):
        use = use_of(file, iterated)
        if use is None and isinstance(iterated, ast.Name):
            before = [one for one in many.get(iterated.id, ()) if one.call.lineno < iterated.lineno]
            use = before[-1] if before else None
        if use is None:
            continue
        if isinstance(target, ast.Name):
            yield from ((use, column) for column in columns_of(target.id, ast.walk(body)))
        else:
            yield use, target


def inside(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of the functions in it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from inside(node)


def loops(nodes: list[ast.AST]) -> Iterator[tuple[ast.expr, ast.expr, ast.AST]]:
    """What is iterated, what over, and where that is used."""
    for node in nodes:
        if isinstance(node, ast.For):
            yield node.iter, node.target, node
        for each in getattr(node, "generators", ()):
            yield each.iter, each.target, node


def columns_of(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.slice


def wrong_read(names: list[str], read: ast.expr) -> str | None:
    for name in names:
        columns = BINDINGS[name].columns
        if isinstance(read, ast.Tuple):
            starred = any(isinstance(one, ast.Starred) for one in read.elts)
            if len(read.elts) - starred > len(columns) or (not starred and len(read.elts) != len(columns)):
                return f"{name} has {len(columns)} columns, not {len(read.elts)}"
        elif isinstance(read, ast.Constant):
            known = range(len(columns)) if isinstance(read.value, int) else columns
            if read.value not in known:
                return f"{name} has no column {read.value!r}"
    return None


def test_callers_read_what_the_rows_have() -> None:
    found = [read for file in FILES for read in reads(file)]
    assert len(found) > 60, "the rows are read in another way now"
    wrong = [f"{use.place}: {why}" for use, read in found if (why := wrong_read(use.names, read))]
    assert wrong == []


def test_who_asks_for_rows_asks_a_statement_that_answers_some() -> None:
    deaf = [
        f"{use.place}: {name} answers no rows"
        for use in uses()
        for name in use.names
        if use.verb != "run" and not BINDINGS[name].columns
    ]
    assert deaf == []


def test_no_count_comes_as_a_decimal() -> None:
    """sum() of a bigint is numeric: JSON and the domain want an integer."""
    types = {str(type) for binding in BINDINGS.values() for type in binding.columns.values()}
    assert not [type for type in types if "Decimal" in type]
