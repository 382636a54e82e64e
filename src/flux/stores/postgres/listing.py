"""What a person's filter asks of documents, as PostgreSQL says it."""

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
        checks.append(Check("options", "c.options IS NOT NULL AND flux.has_tag(c.options, @tag)"))
    if filter.error is not None:
        values["error"] = filter.error
        checks.append(Check("error", "c.error IS NOT NULL AND flux.error_has(c.error, @error)"))
    for number, (path, value) in enumerate(filter.payload):
        values[f"path{number}"] = read_path(path)
        values[f"value{number}"] = value
        checks.append(Check("payload", f"flux.json_has(c.payload, @path{number}::text[], @value{number})"))
    return tuple(checks)
