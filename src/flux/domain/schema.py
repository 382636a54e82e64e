"""Words for changes of a database's schema."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """When a migration runs in a roll-out, so that processes of the version before and of this one can overlap."""

    PRE = "pre"
    """Before the first new process starts: it only adds, and what older processes need stays as it is."""

    POST = "post"
    """After the last old process has left: it takes away what only older processes needed."""
