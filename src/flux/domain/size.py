"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

# "500MB" means what `ulimit`, `docker --memory` and people who say it mean: powers of 1024.
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)


def parse_size(value: str | int) -> int:
    """Return a size in bytes: a number, or a text such as "500MB", "512 MiB", "2g" (powers of 1024).

    Raises ValueError with a text for the person who wrote the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"a size cannot be {value!r:.50}; {_EXAMPLE}")
    if isinstance(value, int):
        size = value
    else:
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"{value!r:.50} is not a size; {_EXAMPLE}")
        size = int(float(found[1]) * _UNITS[found[2].lower()])
    if not 0 < size <= 1 << 60:
        raise ValueError(f"{value!r:.50} is not a size that can be; {_EXAMPLE}")
    return size


def format_size(size: int) -> str:
    """Return the short text of a size: "1.5 MB", "20 kB", "12 B"."""
    if size < 1024:
        return f"{size} B"
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"


_EXAMPLE: Final = 'write it like "500MB", or as a number of bytes'
