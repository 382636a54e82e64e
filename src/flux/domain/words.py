"""Numbers of things, in words for people."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """ "1 job", "1,204 jobs"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def agree(count: int, one: str, many: str) -> str:
    """The word that goes with a number: ``agree(n, "is", "are")``."""
    return one if count == 1 else many
