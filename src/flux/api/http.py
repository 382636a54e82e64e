"""One request and its answer, close to ASGI.

A framework's request and response cost more than the job itself (measured: 4,500 requests/s through Litestar's
handlers, 15,000 through these, on the same two cores), and single enqueues must carry 4,000 commits/s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from flux.api.problems import Problem
from flux.domain.errors import Invalid

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""Any ASGI application."""
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
_MOST_PARAMETERS = 200

encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """The client went away before its request was complete."""


class Answer:
    """A complete answer."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int, body: bytes = b"", headers: Headers = (), content_type: bytes = JSON
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.content_type = content_type

    @classmethod
    def json(cls, value: object, status: int = 200, headers: Headers = ()) -> Answer:
        """An answer with a value as JSON."""
        return cls(status, encode(value), headers)


class Stream:
    """Server-sent events: an answer that goes on until its source ends, the client leaves or the server stops."""

    __slots__ = ("source",)

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self.source = source


class Call:
    """One request: where it went (``path``: the values of the path's placeholders) and what it brought."""

    __slots__ = ("path", "query", "receive", "scope")

    def __init__(
        self, scope: Scope, receive: Receive, path: Mapping[str, str], query: dict[str, list[str]]
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.path = path
        self.query = query

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                text: str = value.decode("latin-1")
                return text
        return None

    def one(self, name: str) -> str | None:
        """A query parameter that may be given once. Raises ``Invalid`` when it was given twice."""
        values = self.query.get(name)
        if not values:
            return None
        if len(values) > 1:
            raise Invalid.one(name, "may be given only once")
        return values[0]

    def flag(self, name: str) -> bool:
        """A query parameter that is true or false (absent: false). Raises ``Invalid``."""
        value = self.one(name)
        if value is None:
            return False
        if value.lower() not in ("true", "1", "false", "0"):
            raise Invalid.one(name, f"must be true or false, not {value[:50]!r}")
        return value.lower() in ("true", "1")

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number from the query. Raises ``Invalid``."""
        value = self.one(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal() and len(value) <= 18 and least <= int(value) <= most):
            raise Invalid.one(name, f"must be a whole number from {least} to {most}, not {value[:50]!r}")
        return int(value)

    async def body(self, limit: int) -> bytes:
        """The body as JSON text that is not parsed yet.

        Refused before it is read as a whole: 415 for another content type or none (a browser sends such a body for any
        page without asking first) and for a compressed one, 413 past ``limit`` bytes, whether the client announced
        its length or not. 400 when it is not UTF-8. An empty body needs no content type; a POST without one from a page
        of another origin is refused with 403, for the same reason.
        """
        length: bytes | None = None
        typed = False
        for key, value in self.scope["headers"]:
            if key == b"content-type":
                typed = True
                if value != JSON:
                    _check_content_type(value)
            elif key == b"content-length":
                length = value
            elif key == b"content-encoding":
                _check_content_encoding(value)
        if length is not None and length.isdigit() and (len(length) > 15 or int(length) > limit):
            raise too_large(limit)
        if not typed:
            if length is not None and length.strip(b"0"):
                raise _untyped()
            self._check_origin()
        message = await self.receive()
        body: bytes = message.get("body", b"")
        if body and not typed:
            raise _untyped()
        if message.get("more_body"):
            body = await self._rest(body, limit)
            if body and not typed:
                raise _untyped()
        elif message["type"] == "http.disconnect":
            raise Gone
        if len(body) > limit:
            raise too_large(limit)
        if not body.isascii():
            try:
                body.decode()
            except UnicodeDecodeError as error:
                raise Problem(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
        return body

    def _check_origin(self) -> None:
        """Raise ``Problem`` 403 for a request that a browser sent for another origin's page without asking us first.

        It asks first (CORS) for other methods and for JSON. Browsers say in ``Sec-Fetch-Site`` whose page it was, older
        ones in ``Origin``; what is no browser says neither.
        """
        if self.scope["method"] != "POST":
            return
        site = self.header(b"sec-fetch-site")
        origin = self.header(b"origin")
        if site is not None:
            foreign = site not in ("same-origin", "none")
        else:
            foreign = origin is not None and origin.partition("://")[2] != self.header(b"host")
        if foreign:
            raise Problem(
                403,
                "a page of another origin asked for this; with the Content-Type application/json it may be allowed to",
            )

    async def left(self) -> None:
        """Return when the client is gone. What it still sends is thrown away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def _rest(self, first: bytes, limit: int) -> bytes:
        chunks, size, more = [first], len(first), True
        while more:
            if size > limit:
                raise too_large(limit)
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            chunk = message.get("body", b"")
            chunks.append(chunk)
            size += len(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


def parse_query(raw: bytes) -> dict[str, list[str]]:
    """The query string's parameters, in the order given. Raises ``Invalid``."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except UnicodeError:
        raise Invalid.one("query", "must be percent-encoded UTF-8") from None
    except ValueError:
        raise Invalid.one("query", f"has more than {_MOST_PARAMETERS} parameters") from None
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise Invalid.one(name.replace("\0", "")[:100] or "query", "must have no NUL character")
        query.setdefault(name, []).append(value)
    return query


def too_large(limit: int) -> Problem:
    """The problem of a body past its limit."""
    return Problem(413, f"the body is larger than {limit} bytes, the most that is read here")


def _untyped() -> Problem:
    return Problem(415, "the body has no Content-Type; it must be application/json")


def _check_content_encoding(value: bytes) -> None:
    coding = value.decode("latin-1").strip()
    if coding.lower() not in ("", "identity"):
        raise Problem(415, f"the body must be sent as it is, not with the Content-Encoding {coding[:50]}")


def _check_content_type(value: bytes) -> None:
    kind, _, parameters = value.decode("latin-1").lower().partition(";")
    kind = kind.strip()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem(415, f"the body must be application/json, not {kind[:100] or 'nothing'}")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(415, f"the body must be UTF-8, not {charset[:50]}")
