"""A word to people when the database goes and when it is back: once each, however many meet it meanwhile."""

from __future__ import annotations

import logging
import time

from flux.domain.errors import Unavailable

logger = logging.getLogger("flux.postgres")

_CALM = 1.0
"""Seconds without a failure after which it counts as back: some connections find it before others do."""


class Trouble:
    """What one process knows of it."""

    def __init__(self, place: str) -> None:
        self._place = place[0].upper() + place[1:]
        self._used = False
        self._since: float | None = None
        self._last = 0.0

    def met(self, error: Unavailable) -> None:
        """A work failed. At a start, before any has succeeded, whoever starts says so himself."""
        if not self._used:
            return
        self._last = time.monotonic()
        if self._since is None:
            self._since = self._last
            logger.warning("%s Nothing can be accepted or written until that is over.", error)

    def over(self) -> None:
        """A work came to its end."""
        self._used = True
        if self._since is None:
            return
        now = time.monotonic()
        if now - self._last > _CALM:
            logger.info("%s takes writes again, after %.1f s.", self._place, now - self._since)
            self._since = None
