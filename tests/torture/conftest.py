"""A house for each test, and its logs where a test fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.house import House

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # signals, /proc and mounts as Linux has them


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    try:
        yield made
    finally:
        made.close()
