"""What happened in a simulated world, line by line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tests.simulation.loop import STRAND


class History:
    """Lines with their time and process. Kept as a digest always, as text when ``tell`` wants them."""

    def __init__(self, time: Callable[[], float], tell: Callable[[str], None] | None, digest: bool) -> None:
        self._time = time
        self._tell = tell
        self._digest = hashlib.sha256() if digest else None
        self.wanted = digest or tell is not None
        self.lines = 0

    def say(self, text: str, *args: object) -> None:
        """Add a line; ``text % args`` is made only when somebody reads it."""
        self.lines += 1
        if not self.wanted:
            return
        strand = STRAND.get(None)
        who = strand.process.name if strand is not None else "world"
        line = f"{self._time():12.6f} {who:<14} {text % args if args else text}"
        if self._digest is not None:
            self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        """The same for two runs that were the same."""
        assert self._digest is not None
        return self._digest.hexdigest()
