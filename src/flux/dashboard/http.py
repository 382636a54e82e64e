"""As much of HTTP as server-rendered pages need, straight on ASGI: a request, a response, forms.

Plain ASGI on purpose: the dashboard is mounted in applications whose framework and version are their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from flux.domain.errors import Invalid

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Pairs: TypeAlias = tuple[tuple[str, str], ...]

LARGEST_FORM = 4 << 20
"""Bytes. A payload of 1 MiB in a form may be three times as long when every character is escaped."""


class Disconnected(Exception):
    """The browser went away before it had said everything."""


class Query:
    """The query of a URL: ordered pairs, read by name, and rewritten to make links."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    @classmethod
    def parse(cls, raw: str) -> Query:
        """Read a query string or a form body. Raises ``Invalid`` when it has absurdly many fields."""
        try:
            return cls(tuple(parse_qsl(raw, keep_blank_values=True, max_num_fields=2000)))
        except ValueError:
            raise Invalid.one("form", "has too many fields") from None

    def get(self, name: str, default: str = "") -> str:
        """The last value of a name."""
        return next((value for key, value in reversed(self.pairs) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a name."""
        return [value for key, value in self.pairs if key == name]

    def with_(self, **changes: str | list[str] | None) -> Query:
        """A copy in which the named parameters are replaced (None: taken out)."""
        kept = [(key, value) for key, value in self.pairs if key not in changes]
        for name, change in changes.items():
            values = change if isinstance(change, list) else [] if change is None else [change]
            kept += [(name, value) for value in values]
        return Query(tuple(kept))

    def __str__(self) -> str:
        text = urlencode(self.pairs, safe=":/", quote_via=quote)
        return f"?{text}" if text else ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``path`` is inside the dashboard; ``base`` is what stands before it in the browser's URL."""

    method: str
    path: str
    base: str
    query: Query
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    receive: Receive
    secure: bool = False

    @property
    def wants_stream(self) -> bool:
        """Whether an ``EventSource`` asks: each page is also its own stream, under the same URL."""
        return self.headers.get("accept", "").startswith("text/event-stream")

    @property
    def by_script(self) -> bool:
        """Whether our own script sent this form and shows the answer itself."""
        return self.headers.get("x-flux-script") == "1"

    async def form(self) -> Query:
        """The body as a form. Raises ``Invalid`` when it is too large."""
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            body += message.get("body", b"")
            if len(body) > LARGEST_FORM:
                raise Invalid.one("form", f"is larger than {LARGEST_FORM >> 20} MiB")
            if not message.get("more_body", False):
                return Query.parse(body.decode("utf-8", "replace"))


@dataclass(slots=True)
class Response:
    """One answer, whole."""

    body: bytes
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)

    def cookie(self, name: str, value: str, request: Request, *, age: int, script: bool = False) -> None:
        """Set a cookie for the dashboard alone; ``script`` lets our scripts read it."""
        text = f"{name}={quote(value, safe='')}; Path={request.base or '/'}; Max-Age={age}; SameSite=Strict"
        text += "" if script else "; HttpOnly"
        text += "; Secure" if request.secure else ""
        self.headers.append(("set-cookie", text))

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Write it out; for HEAD without the body."""
        headers = [
            ("content-type", self.content_type),
            ("content-length", str(len(self.body))),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": b"" if head else self.body})


def redirect(location: str) -> Response:
    """Go there with a GET: the answer to a form, so that Back and reload never send it again."""
    return Response(b"", 303, headers=[("location", location)])


def encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def read_request(scope: Scope, receive: Receive, prefix: str) -> Request:
    """A request as it concerns the dashboard: mounted or not, behind a proxy that strips the prefix or not."""
    root = str(scope.get("root_path", "")).rstrip("/")
    path = str(scope["path"])
    for before in (root, prefix):
        if before and (path == before or path.startswith(before + "/")):
            path = path[len(before) :]
    headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
    return Request(
        method=str(scope["method"]),
        path=path or "/",
        base=quote(root + prefix, safe="/:"),
        query=Query.parse(scope.get("query_string", b"").decode("latin-1")),
        headers=headers,
        cookies=_cookies(headers.get("cookie", "")),
        receive=receive,
        secure=scope.get("scheme") == "https",
    )


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}  # somebody else's cookie on this host is no reason to refuse a page


def json_response(value: object, status: int = 200) -> Response:
    """An answer to our own script."""
    return Response(
        msgspec.json.encode(value), status, "application/json", headers=[("cache-control", "no-store")]
    )
