"""Pages of jobs, newest first: cursors, and the ids that bound a time."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final
from uuid import UUID

from flux.domain.errors import Invalid
from flux.domain.ids import time_of

_LAST_TICK: Final = (1 << 60) - 1


def id_floor(us: int) -> str:
    """The id that sorts before every id made at or after an instant (µs), and after every earlier one.

    Ids begin with the instant at which they were made (``domain.ids``), so a range of time is a range of the key.
    """
    milliseconds, rest = divmod(max(us, 0), 1000)
    tick = min(milliseconds << 12 | (rest << 12) // 1000, _LAST_TICK)
    text = f"{tick >> 12:012x}"
    return f"{text[:8]}-{text[8:]}-7{tick & 0xFFF:03x}-0000-000000000000"


def write_cursor(id: str) -> str:
    """A place in a list: the id that the page ended with, short and without a meaning to lean on."""
    return urlsafe_b64encode(UUID(id).bytes).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """The id of a cursor. Raises ``Invalid`` for what no list gave."""
    try:
        raw = urlsafe_b64decode(cursor + "==") if len(cursor) == 22 else b""
    except (Base64Error, ValueError):
        raw = b""
    if len(raw) != 16 or write_cursor(id := str(UUID(bytes=raw))) != cursor:
        raise Invalid.one("cursor", "is none that a list gave; begin without a cursor")
    return id


def time_or_none(id: str) -> int | None:
    """When an id was made (µs); None for an id that does not say."""
    try:
        return time_of(id)
    except ValueError:
        return None
