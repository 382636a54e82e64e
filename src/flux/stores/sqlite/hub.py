"""Tells whoever asked that something was committed through this process."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Hub:
    """Listeners of commits. Databases on one file in one process share one; called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after every commit that changed something; the answer ends it."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self._lock:
                # Compared by equality: a bound method is a new object at each access.
                self._listeners = tuple(each for each in self._listeners if each != listener)

        return unsubscribe

    def notify(self) -> None:
        """Something was committed."""
        for listener in self._listeners:
            listener()
