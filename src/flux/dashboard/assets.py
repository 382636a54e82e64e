"""The files the browser asks for: read once, named by their content, kept by the browser for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from flux.dashboard.http import Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}


class Assets:
    """Every static file. All are under one version in the path, so that modules find each other by relative names."""

    def __init__(self) -> None:
        self._files = dict(_walk(files("flux.dashboard").joinpath("static"), ""))
        digest = hashlib.sha256()
        for name in sorted(self._files):
            digest.update(name.encode() + b"\0" + self._files[name])
        self.version = digest.hexdigest()[:12]

    def respond(self, version: str, name: str) -> Response | None:
        """The file, or None. An old version gets today's file, but is not told to keep it."""
        body = self._files.get(name)
        if body is None:
            return None
        keep = "public, max-age=31536000, immutable" if version == self.version else "no-store"
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(body, content_type=kind, headers=[("cache-control", keep)])


def _walk(folder: Traversable, before: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{before}{entry.name}/")
        else:
            yield before + entry.name, entry.read_bytes()
