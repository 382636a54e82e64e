"""Tells whoever asked that something was committed through this process."""

from __future__ import annotations

from collections.abc import Callable


class Hub:
    """Listeners of commits, called in the loop that committed."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[], None], ...] = ()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every commit that changed something."""
        self._listeners = (*self._listeners, listener)

    def notify(self) -> None:
        """Something was committed."""
        for listener in self._listeners:
            listener()
