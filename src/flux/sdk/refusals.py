"""What is said of a payload that does not fit: where, and why."""

from __future__ import annotations

from collections.abc import Sequence

from flux.engine.handler import BadArguments


def refusal(error: Exception, what: str, names: Sequence[str]) -> BadArguments:
    """What was wrong with a payload, in words for a person: where, and why."""
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    quoted = text.partition("`")[2].partition("`")[0]
    inside = f"{path}.{quoted}" if path else quoted
    if text.startswith("Object contains unknown field"):
        return BadArguments(f"{inside}: {'is not known' if path else stranger(what, names)}")
    if text.startswith("Object missing required field"):
        return BadArguments(f"{inside}: is missing")
    if not path and text.startswith("Expected `object`"):
        return BadArguments(f"the payload must be an object of arguments: {lower_first(text)}")
    return BadArguments(f"{path or 'the payload'}: {lower_first(text) or type(error).__name__}")


def stranger(what: str, names: Sequence[str]) -> str:
    """What to say of an argument that there is not."""
    return f"is not an argument of {what}; it takes {', '.join(names) or 'none'}"


def lower_first(text: str) -> str:
    """A sentence as the second half of one."""
    return text[:1].lower() + text[1:]
