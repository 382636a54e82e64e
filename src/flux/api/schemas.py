"""JSON schemas of the structs that requests and answers are made of."""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Iterable
from typing import Any, Union

import msgspec

REF = "#/components/schemas/{name}"


def is_struct(kind: Any) -> bool:
    """Whether it is a struct's class."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def schemas_of(kinds: Iterable[Any]) -> dict[str, Any]:
    """Name -> schema of these structs and all that they have in them."""
    mirrors: dict[Any, Any] = {}
    wanted = tuple(_mirror(kind, mirrors) for kind in dict.fromkeys(kinds))
    return msgspec.json.schema_components(wanted, ref_template=REF)[1]


def _mirror(kind: Any, mirrors: dict[Any, Any]) -> Any:
    """The same type with any JSON in the place of stored JSON, whose default msgspec cannot write into a schema."""
    if kind is msgspec.Raw:
        return Any
    if is_struct(kind):
        if kind not in mirrors:
            mirrors[kind] = _mirror_struct(kind, mirrors)
        return mirrors[kind]
    arguments = typing.get_args(kind)
    if not arguments or typing.get_origin(kind) is typing.Literal:
        return kind
    inner = tuple(_mirror(argument, mirrors) for argument in arguments)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is Union:
        return functools.reduce(operator.or_, inner)
    return typing.get_origin(kind)[inner]


def _mirror_struct(kind: Any, mirrors: dict[Any, Any]) -> Any:
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        inner = _mirror(field.type, mirrors)
        default = field.default
        if isinstance(default, msgspec.Raw):
            default = msgspec.json.decode(default)
        if default is not msgspec.NODEFAULT and not isinstance(default, dict | list):
            fields.append((field.encode_name, inner, default))
        elif isinstance(default, dict | list):
            # Only empty ones: others cannot be a struct's default.
            fields.append((field.encode_name, inner, msgspec.field(default_factory=type(default))))
        elif field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.encode_name, inner, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.encode_name, inner))
    return msgspec.defstruct(
        kind.__name__,
        fields,
        kw_only=True,
        namespace={"__doc__": kind.__doc__},
        forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
    )
