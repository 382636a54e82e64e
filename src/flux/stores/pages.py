"""What people send to read pages of jobs and events: cursors, times as bounds of ids, paths into payloads."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import Final
from uuid import UUID

from flux.domain.errors import Invalid
from flux.domain.ids import time_of

_LAST_TICK: Final = (1 << 60) - 1
_LONGEST_PATH: Final = 500

FIRST: Final = "00000000-0000-0000-0000-000000000000"
LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The bounds of all ids."""


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


def read_path(path: str) -> list[str]:
    """The steps of a dotted path into a payload. Raises ``Invalid`` for what cannot be asked for."""
    steps = path.split(".")
    if not all(steps) or len(path) > _LONGEST_PATH or '"' in path or "\\" in path or "\0" in path:
        raise Invalid.one(
            f"payload.{path[:50]}", 'is not a path; write it like payload.user.name, without " and \\'
        )
    return steps


def read_event_id(text: str) -> tuple[int, int]:
    """An event's row, and its place in it. Raises ``Invalid`` for what is no id of an event."""
    row, _, index = text.partition(".")
    if not (text.isascii() and row.isdigit() and index.isdigit() and len(text) <= 30):
        raise Invalid.one("after", "is no id of an event; begin without one")
    # The stores' integers have 64 bits; what is past them is past every event.
    return min(int(row), (1 << 63) - 1), int(index)
