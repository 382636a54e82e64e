"""What a person's filter asks of documents, as SQLite says it."""

from __future__ import annotations

from typing import Any

from flux.engine.ports import JobFilter
from flux.stores.listing import Check
from flux.stores.pages import read_path


def in_documents(filter: JobFilter, values: dict[str, Any]) -> tuple[Check, ...]:
    """The conditions that no table has an index for."""
    checks = []
    if filter.tag is not None:
        values["tag"] = filter.tag
        checks.append(
            Check(
                "options",
                "c.options IS NOT NULL AND EXISTS "
                "(SELECT 1 FROM json_each(c.options, '$.tags') AS t WHERE t.value = @tag)",
            )
        )
    if filter.error is not None:
        values["error"] = filter.error.lower()
        values["error_kind"] = filter.error
        checks.append(
            Check(
                "error",
                "c.error IS NOT NULL AND (json_extract(c.error, '$.kind') = @error_kind"
                " OR instr(lower(json_extract(c.error, '$.message')), @error))",
            )
        )
    for number, (path, value) in enumerate(filter.payload):
        values[f"value{number}"] = value
        asked = []
        for form, text in enumerate(_json_paths(path)):
            name = f"path{number}_{form}"
            values[name] = text
            asked.append(f"c.payload -> @{name} = @value{number} OR c.payload ->> @{name} = @value{number}")
        checks.append(Check("payload", f"({' OR '.join(asked)})"))
    return tuple(checks)


def _json_paths(path: str) -> list[str]:
    """A dotted path as SQLite writes it; a step of digits may be the index of a list or a name."""
    steps = read_path(path)
    indexed = "$" + "".join(f"[{int(step)}]" if _is_index(step) else f'."{step}"' for step in steps)
    named = "$" + "".join(f'."{step}"' for step in steps)
    return [named] if named == indexed else [indexed, named]


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) <= 9
