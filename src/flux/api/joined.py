"""One write an answer.

uvicorn writes an answer's head and body apart, and uvloop hands each write to the kernel at once: two system calls and
two packets where one does. (Measured: a sixth of the time of an enqueue.)
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = b"HTTP/1.1 "
_CONTINUE = b"HTTP/1.1 100 "


class _Joined:
    """A transport that holds an answer's head until something follows it, at most until the loop's next turn."""

    __slots__ = ("_head", "_later", "_transport", "_write")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self._head = b""
        self._later = asyncio.get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_CONTINUE):
            self._head = data
            # A stream may begin long before its first event.
            self._later(self.flush)
            return
        self._write(data)

    def flush(self) -> None:
        if self._head:
            data, self._head = self._head, b""
            if not self._transport.is_closing():
                self._write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class JoinedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol over such a transport."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # It has all of a transport's methods, most of them through __getattr__.
        joined = cast(asyncio.Transport, _Joined(cast(asyncio.Transport, transport)))
        super().connection_made(joined)

    def on_response_complete(self) -> None:
        """See uvicorn. An answer to HEAD has nothing that follows its head."""
        cast(_Joined, self.transport).flush()
        super().on_response_complete()
