"""Tells whoever asked that something was committed through this process."""

from __future__ import annotations

from collections.abc import Callable

from flux.engine.ports import Topic


class Hub:
    """Listeners of commits, called in the loop that committed."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[Topic], None], ...] = ()

    def subscribe(self, listener: Callable[[Topic], None]) -> None:
        """Call ``listener`` after every commit that changed something, with what it is about."""
        self._listeners = (*self._listeners, listener)

    def notify(self, about: Topic = Topic.ANY) -> None:
        """Something was committed."""
        for listener in self._listeners:
            listener(about)
