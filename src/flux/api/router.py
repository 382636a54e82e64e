"""From a method and path to its operation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from flux.api.http import Scope
from flux.api.operations import Operation
from flux.api.problems import Problem
from flux.domain.errors import FieldError, Invalid

_PLACEHOLDER = re.compile(r"\{(\w+)(\+?)\}")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Route:
    """An operation and what its query may name."""

    __slots__ = ("known", "operation", "pattern", "prefixes")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.pattern = re.compile(_PLACEHOLDER.sub(_group, operation.path))
        names = [parameter.name for parameter in operation.query if not parameter.header]
        self.known = frozenset(name for name in names if not name.endswith(".*"))
        self.prefixes = tuple(name[:-1] for name in names if name.endswith(".*"))

    def check(self, query: Mapping[str, list[str]]) -> None:
        """Raise ``Invalid`` for parameters that the operation does not know: a typo must not pass in silence."""
        unknown = [
            name
            for name in query
            if name not in self.known and not (self.prefixes and name.startswith(self.prefixes))
        ]
        if unknown:
            known = ", ".join(sorted(self.known)) or "none"
            raise Invalid(
                [
                    FieldError(name[:100], f"is not a parameter here; the parameters are: {known}")
                    for name in unknown
                ]
            )


class Router:
    """All routes. Those without placeholders are found by one look-up, the others in the order given."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._plain: dict[str, dict[str, Route]] = {}
        self._patterns: list[Route] = []
        for operation in operations:
            route = Route(operation)
            if "{" in operation.path:
                self._patterns.append(route)
            else:
                self._plain.setdefault(operation.path, {})[operation.method] = route

    def find(self, scope: Scope) -> tuple[Route, Mapping[str, str]]:
        """The route of a request and its placeholders' values. Raises ``Problem`` 404 and 405."""
        path: str = scope["path"]
        method: str = scope["method"]
        by_method = self._plain.get(path)
        if by_method is not None:
            route = by_method.get(method) or (by_method.get("GET") if method == "HEAD" else None)
            if route is not None:
                return route, _NOTHING
        return self._search(path, method, scope)

    def _search(self, path: str, method: str, scope: Scope) -> tuple[Route, Mapping[str, str]]:
        # The raw path, so that an escaped slash (%2F) stays part of its segment.
        raw: bytes = scope.get("raw_path") or path.encode()
        text = raw.decode("latin-1")
        if len(text) > 1 and text.endswith("/"):
            text = text.rstrip("/") or "/"
        allowed = set(self._plain.get(text, ()))
        if method in allowed or (method == "HEAD" and "GET" in allowed):
            return self._plain[text]["GET" if method == "HEAD" else method], _NOTHING
        for route in self._patterns:
            found = route.pattern.fullmatch(text)
            if found is None:
                continue
            wanted = route.operation.method
            if method == wanted or (method == "HEAD" and wanted == "GET"):
                return route, {name: _unescaped(value) for name, value in found.groupdict().items()}
            allowed.add(wanted)
        if allowed:
            if "GET" in allowed:
                allowed.add("HEAD")
            names = ", ".join(sorted(allowed))
            raise Problem(
                405, f"{method[:20]} is not possible here; {names} is", ((b"allow", names.encode()),)
            )
        hint = (
            "/docs lists what there is" if "/docs" in self._plain else f"there are {', '.join(self._plain)}"
        )
        raise Problem(404, f"there is nothing at {path[:200]}; {hint}")


def _group(placeholder: re.Match[str]) -> str:
    name, long = placeholder.groups()
    return f"(?P<{name}>.+)" if long else f"(?P<{name}>[^/]+)"


def _unescaped(segment: str) -> str:
    try:
        value = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise Problem(404, "the path is not UTF-8") from None
    if "\0" in value:
        raise Problem(404, "the path has a NUL character")
    return value
