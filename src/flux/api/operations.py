"""An operation as data: what serves a method and path, and all that its documentation needs.

Routing, the check of query parameters and the OpenAPI document are made from the same list, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from flux.api.http import Answer, Call, Stream

BASE = "/api/v1"

Handler: TypeAlias = Callable[[Call], Awaitable[Answer | Stream]]


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter or request header. A name that ends in ``.*`` stands for all that begin so."""

    name: str
    about: str
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})
    example: object = None
    repeatable: bool = False
    header: bool = False


class Body(msgspec.Struct, frozen=True):
    """What a request may bring: a type to describe it by (it need not be decoded with it), and an example."""

    type: Any
    example: object
    required: bool = True
    about: str = ""


class Reply(msgspec.Struct, frozen=True):
    """An answer of success. ``type`` None: not JSON, but text of ``media_type``."""

    about: str
    type: Any = None
    example: object = None
    media_type: str = "application/json"
    headers: dict[str, str] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path. ``{name}`` in a path is one segment, ``{name+}`` may contain slashes."""

    method: str
    path: str
    name: str
    group: str
    summary: str
    handler: Handler
    replies: dict[int, Reply]
    about: str = ""
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    problems: tuple[int, ...] = ()
    """Beyond those that any call may meet."""
    hidden: bool = False
    """Another address of an operation that is documented elsewhere."""
