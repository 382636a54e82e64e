"""Python values that JSON carries: what msgspec knows, and pydantic models without importing pydantic."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec

from flux.engine.handler import Cancel, Discard, RetryAfter, Snooze

_MARKERS = (Snooze, Cancel, Discard, RetryAfter)


def dec_hook(kind: type, value: object) -> Any:
    """Build what msgspec does not know. Raises ``ValueError`` with the reason."""
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise ValueError(f"{kind.__name__} cannot be made from JSON")
    try:
        try:
            # Written with field names, read with either: what was enqueued must come back.
            return validate(value, by_alias=True, by_name=True)
        except TypeError:
            return validate(value)  # pydantic before 2.11
    except ValueError as error:
        raise ValueError(_first_words(error)) from None


def _first_words(error: ValueError) -> str:
    """pydantic's findings on one line."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return str(error)
    found = [f"{'.'.join(map(str, one['loc'])) or 'value'}: {one['msg']}" for one in errors()]
    return "; ".join(found[:5])


def no_json_form(hint: Any) -> str | None:
    """Why a value of this type can never come out of JSON, or None when it can."""
    try:
        info = msgspec.inspect.type_info(hint)
        msgspec.json.Decoder(hint, dec_hook=dec_hook)
    except (TypeError, NameError, AttributeError) as error:
        return f"this annotation cannot be read from JSON: {error}"
    for custom in _customs(info, set()):
        if not hasattr(custom, "model_validate"):
            name = getattr(custom, "__name__", str(custom))
            return (
                f"{name} cannot be made from JSON; use plain values, dataclasses, msgspec or pydantic, "
                "or inject it: Annotated[…, Depends(get)]"
            )
    return None


def _customs(info: Any, seen: set[int]) -> Iterator[Any]:
    """The types in a description that msgspec leaves to the hook."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
        return
    if not isinstance(info, msgspec.Struct):
        return
    for name in info.__struct_fields__:
        part = getattr(info, name)
        for one in part if isinstance(part, tuple) else (part,):
            if isinstance(one, (msgspec.inspect.Type, msgspec.inspect.Field)):
                yield from _customs(one, seen)


def result_decoder(hint: Any) -> msgspec.json.Decoder[Any]:
    """A decoder of what a handler annotated ``-> hint`` returned; ``Snooze`` and the like are no results."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        kept = tuple(part for part in get_args(hint) if part not in _MARKERS)
        hint = typing.Union[kept] if kept else Any  # noqa: UP007  # from a tuple
    if hint in _MARKERS or hint is typing.NoReturn or hint is typing.Never or no_json_form(hint):
        hint = Any
    return msgspec.json.Decoder(hint, dec_hook=dec_hook)
