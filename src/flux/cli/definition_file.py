"""A workflow's definition from a file or from standard input, in JSON or in YAML."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from flux.cli.failures import CommandError, ExitCode
from flux.domain.workflow.definition import MAX_DEFINITION
from flux.domain.workflow.parse import too_large

_JSON: Final = (".json",)
_YAML: Final = (".yaml", ".yml")
_DEEPEST: Final = 200
_MOST_VALUES: Final = 1_000_000
"""Of YAML, each of which takes half a kilobyte of memory on its way."""


def read_definition_file(file: str) -> object:
    """The plain values in a file; ``-`` is standard input, where YAML holds JSON too. Raises ``CommandError``."""
    name = "standard input" if file == "-" else file
    if file != "-" and not file.endswith(_JSON + _YAML):
        raise _refused(name, "ends neither in .json nor in .yaml; give it one of them, or pass it on as -")
    try:
        raw = sys.stdin.buffer.read(MAX_DEFINITION + 1) if file == "-" else _bytes(file)
    except OSError as error:
        raise _refused(name, f"cannot be read: {error.strerror}") from None
    if len(raw) > MAX_DEFINITION:
        raise _refused(name, too_large(len(raw), MAX_DEFINITION))
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _refused(name, f"is not UTF-8: byte {error.start + 1} cannot be read") from None
    try:
        return _from_json(text) if file.endswith(_JSON) else from_yaml(text)
    except ValueError as error:
        raise _refused(name, str(error)) from None


def _bytes(file: str) -> bytes:
    with Path(file).open("rb") as opened:
        return opened.read(MAX_DEFINITION + 1)


def _refused(name: str, reason: str) -> CommandError:
    return CommandError(f"{name} {reason}", ExitCode.USAGE)


def _from_json(text: str) -> object:
    import json

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise ValueError(f"has the key {key[:100]!r} twice in one object")
            found[key] = value
        return found

    try:
        msgspec.json.decode(text)  # it is the stricter one, and knows where
        return json.loads(text, object_pairs_hook=once)
    except msgspec.DecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


def from_yaml(text: str) -> object:
    """The plain values of one YAML document. Raises ``ValueError``.

    Words mean what they mean in JSON: ``on`` and ``no`` are strings, a date is a string, 010 is ten. A key that comes
    twice is refused, and so are anchors and aliases, with which a few lines become gigabytes.
    """
    try:
        _check_events(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {_reason(error)}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C reads ten times as fast


class _Loader(_Safe):  # type: ignore[misc]  # it is one of two classes
    """PyYAML's safe loader, with the scalars of YAML 1.2's core schema and without repeated keys."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 (filled below, once)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are all different."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a string", key_node.start_mark
                )
            if key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {str(key)[:100]!r} comes twice", key_node.start_mark
                )
            found[key] = self.construct_object(value_node, deep=deep)
        return found

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """A number as people write it: 010 is ten."""
        return int(self.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_integer)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,300}", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first)


def _check_events(text: str) -> None:
    """Refuse what would cost too much to load, or would load as something that JSON has not."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Safe)):
        if count > _MOST_VALUES:
            raise ValueError(f"has more than {_MOST_VALUES} values; JSON may have as many as fit")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _not_here(event, "an anchor or alias (& or *)")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _not_here(event, "a tag (!)")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise ValueError("is nested too deep")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _not_here(event: yaml.Event, what: str) -> ValueError:
    line = event.start_mark.line + 1 if event.start_mark is not None else 1
    return ValueError(f"uses {what} on line {line}, which is not allowed here: write it out")


def _reason(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or str(error)
    mark = getattr(error, "problem_mark", None)
    return str(problem) if mark is None else f"{problem} (line {mark.line + 1}, column {mark.column + 1})"
