"""The definition as JSON Schema, for editors to complete and check while somebody writes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from flux.domain.workflow.definition import (
    LONGEST_NAME,
    STEP_NAME,
    ChildStep,
    Definition,
    JobStep,
    SignalStep,
    TimeStep,
)

_STEPS: Final = (JobStep, SignalStep, TimeStep, ChildStep)
_PLACE: Final = "#/$defs/{name}"


def definition_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of a definition. It says what may stand where; the graph is for the parser to judge."""
    _, parts = msgspec.json.schema_components((Definition, *_STEPS), ref_template=_PLACE)
    whole = parts.pop("Definition")
    steps = whole["properties"]["steps"]
    steps |= {
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{STEP_NAME}$", "maxLength": LONGEST_NAME},
        "additionalProperties": {"anyOf": [{"$ref": _PLACE.format(name=kind.__name__)} for kind in _STEPS]},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": parts}
