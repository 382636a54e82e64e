"""What is wrong with the `.sql` files."""

from __future__ import annotations

from collections.abc import Sequence


class Wrong(Exception):
    """One line for each thing that is wrong, with its file and line where it has one."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
