"""Server-sent events, as bytes."""

from __future__ import annotations

from collections.abc import Iterator

HEARTBEAT = 15.0
"""Seconds of silence after which a comment goes out, so that proxies and clients know that the line is alive."""

HELLO = b"retry: 1000\n: connected\n\n"
BEAT = b": still here\n\n"


def event(data: bytes, *, name: str, id: str | None = None) -> bytes:
    """One event; ``data`` is JSON and so has no line breaks."""
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"


def comment(text: str) -> bytes:
    """A line that programs skip and people read."""
    return f": {text}\n\n".encode()


def pages(items: list[bytes], size: int = 200) -> Iterator[bytes]:
    """Events joined into chunks, one write each."""
    for start in range(0, len(items), size):
        yield b"".join(items[start : start + size])
