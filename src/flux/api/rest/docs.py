"""``/openapi.json`` and ``/docs``: what there is, for programs and for people."""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from flux.api.http import Answer, Call, Headers
from flux.api.openapi import document
from flux.api.operations import BASE, Operation, Reply

if TYPE_CHECKING:
    from flux.api.app import Api

_FILES = {
    "docs.html": b"text/html; charset=utf-8",
    "docs.css": b"text/css; charset=utf-8",
    "docs.js": b"text/javascript; charset=utf-8",
}

_POLICY: Headers = (
    # Everything that the page needs comes from here: no inline script, nobody else's server.
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     b"img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)  # fmt: skip


class DocsResource:
    """The calls for the documentation."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @cached_property
    def _document(self) -> bytes:
        return msgspec.json.encode(document(self._api.operations))

    async def openapi(self, call: Call) -> Answer:
        """``GET /openapi.json``."""
        return Answer(200, self._document)

    async def page(self, call: Call) -> Answer:
        """``GET /docs``."""
        return _file("docs.html")

    async def file(self, call: Call) -> Answer:
        """``GET /docs/docs.js`` and its like."""
        return _file(call.scope["path"].rpartition("/")[2])


def _file(name: str) -> Answer:
    content = resources.files("flux.api").joinpath("static", name).read_bytes()
    return Answer(200, content, _POLICY, _FILES[name])


def operations(api: Api) -> list[Operation]:
    """The operations of the documentation: at the root, and beside the rest of the API."""
    docs = DocsResource(api)
    example = {"openapi": "3.1.0", "info": {"title": "Flux"}, "paths": {}}
    found = []
    for base in (BASE, ""):
        found += [
            Operation(
                method="GET",
                path=f"{base}/openapi.json",
                name="getOpenApi",
                group="Documentation",
                summary="This document",
                handler=docs.openapi,
                replies={200: Reply("OpenAPI 3.1.", dict[str, Any], example)},
                hidden=not base,
            ),
            Operation(
                method="GET",
                path=f"{base}/docs",
                name="getDocs",
                group="Documentation",
                summary="A page to read and try the API",
                handler=docs.page,
                replies={200: Reply("The page.", str, "<!doctype html>", "text/html")},
                hidden=not base,
            ),
        ]
    for name in ("docs.css", "docs.js"):
        found.append(
            Operation(
                method="GET",
                path=f"/docs/{name}",
                name=name,
                group="Documentation",
                summary="A part of the page",
                handler=docs.file,
                replies={200: Reply("The file.")},
                hidden=True,
            )
        )
    return found
