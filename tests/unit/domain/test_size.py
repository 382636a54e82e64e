"""Sizes in bytes as people write them."""

from __future__ import annotations

import pytest

from flux.domain.size import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500MB", 500 << 20),
        ("500 mb", 500 << 20),
        ("512MiB", 512 << 20),
        ("2g", 2 << 30),
        ("1.5k", 1536),
        ("1048576", 1 << 20),
        (4096, 4096),
        ("10B", 10),
    ],
)
def test_reads_what_people_write(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "5 apples", "0", "1e9", "9" * 40, True])
def test_refuses_the_rest(text: str) -> None:
    with pytest.raises(ValueError, match='write it like "500MB"'):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 B"), (1536, "1.5 kB"), (1 << 20, "1 MB"), (5 << 40, "5 TB"), (1000 << 20, "1 GB")],
)
def test_says_a_size_shortly(size: int, text: str) -> None:
    assert format_size(size) == text
