"""Writes the typed bindings of the PostgreSQL store's statements."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Final

from scripts.sqlc.sources import PROJECT, Source
from scripts.sqlc.statements import Described
from scripts.sqlc.wrong import Wrong

_TYPES: Final = {
    "bool": "bool",
    "bytea": "bytes",
    "float8": "float",
    "int2": "int",
    "int4": "int",
    "int8": "int",
    "name": "str",
    "numeric": "Decimal",
    "text": "str",
    "timestamptz": "datetime",
    "uuid": "UUID",
}
_MODULES: Final = {"Decimal": "decimal", "datetime": "datetime", "UUID": "uuid"}

_HEAD: Final = '''"""What each statement of ``queries/*.sql`` takes and answers, by PostgreSQL's word.

Written by `make sqlc-generate`: change the statements, not this.
"""

from __future__ import annotations

{imports}


class Binding(NamedTuple):
    """The types of a statement's parameters, and of its rows' columns in their order (none: it answers no rows).

    Any value may be None, an id also its text.
    """

    parameters: dict[str, object]
    columns: dict[str, object]


BINDINGS: Final[dict[str, Binding]] = {{
'''


def write_bindings(statements: Iterable[Described]) -> str:
    """The text of the module. Raises ``Wrong`` for a type that has no counterpart here."""
    body = ""
    for file, found in _by_file(statements).items():
        body += f"    # {file}\n"
        for one in found:
            parameters, columns = _types(one.source, one.parameters), _types(one.source, one.columns)
            body += f'    "{one.source.name}": Binding({parameters}, {columns}),\n'
    imports = ["from typing import Final, NamedTuple"]
    imports += [f"from {module} import {name}" for name, module in _MODULES.items() if name in body]
    return _formatted(_HEAD.format(imports="\n".join(sorted(imports))) + body + "}\n")


def _by_file(statements: Iterable[Described]) -> dict[str, list[Described]]:
    files: dict[str, list[Described]] = {}
    for one in statements:
        files.setdefault(one.source.file.name, []).append(one)
    return files


def _types(source: Source, types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {_type(source, type)}' for name, type in types.items()) + "}"


def _type(source: Source, type: str) -> str:
    if type.endswith("[]"):
        return f"list[{_type(source, type.removesuffix('[]'))}]"
    if type not in _TYPES:
        raise Wrong([source.wrong(f"scripts/sqlc/bindings.py knows no Python type for {type}")])
    return _TYPES[type]


def _formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "bindings.py", "-"]
    return subprocess.run(
        command, input=text, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
