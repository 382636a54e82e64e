"""One connection to Redis: questions and answers in order, and what it says unasked.

redis-py takes 250 us of processor for one command and this a tenth of it, because a process needs no pool of
connections here: no command of ours waits at the server, so that all go one after the other on one. That order is worth
more than the time: what Redis says unasked arrives before the answer to whatever was asked after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import hiredis

ANSWER: Final = 2.0
"""Seconds within which Redis has to answer; past that it counts as away, so that nobody hangs with it."""

AGAIN: Final = 0.1
"""Seconds later it is looked once more: when it was this process that stood still, the answer lies there already."""


class Refused(Exception):
    """Redis answered with an error; the text is its own, and begins with a word in capitals."""


class Lost(ConnectionError):
    """The connection ended before the answer came: what was asked may have been done."""


_MORE: Final = object()
"""What the reader gives when the next answer is not whole yet."""


class Wire(asyncio.Protocol):
    """Speaks RESP3."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=Refused, notEnoughData=_MORE)
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._doubted: asyncio.Future[Any] | None = None
        self._why: Exception | None = None
        self.closed = False
        self.heard: Callable[[bytes, bytes], None] = _nothing
        """Called with the channel and the text of what is said there."""
        self.lost: Callable[[], None] = _nothing
        """Called once when the connection has ended, whoever ended it."""

    def ask(self, *words: str | int | bytes) -> asyncio.Future[Any]:
        """Send a command at once; the future is its answer, or raises ``Refused``, ``Lost`` or ``TimeoutError``.

        ``SUBSCRIBE`` takes one channel. Raises ``Lost`` when the connection has ended.
        """
        if self.closed:
            raise Lost("the connection is closed")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((answer, self._loop.time()))
        try:
            self.transport.write(hiredis.pack_command(words))  # type: ignore[arg-type] # its stub knows one word
        except RuntimeError as error:  # uvloop's word for a connection that broke a moment ago
            self._end(Lost(str(error)))
            return answer
        if self._watch is None:
            self._watch = self._loop.call_later(ANSWER, self._look)
        return answer

    def close(self) -> None:
        """End it. What was asked and not answered raises ``Lost``."""
        self._end(Lost("the connection is closed"))

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        reader = self._reader
        reader.feed(data)
        try:
            while (said := reader.gets()) is not _MORE:
                if isinstance(said, hiredis.PushNotification) and said[0] == b"message":
                    self.heard(said[1], said[2])
                else:
                    self._answered(said)
        except (hiredis.ProtocolError, LookupError) as error:
            self._end(Lost(f"what speaks there is no Redis: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._end(Lost(str(error) if error is not None else "it closed the connection"))

    def _answered(self, said: Any) -> None:
        answer, _ = self._asked.popleft()
        if answer.done():
            return  # whoever asked has gone
        if isinstance(said, Refused):
            answer.set_exception(said)
        else:
            answer.set_result(said)

    def _look(self) -> None:
        """Whether it has answered in time. One timer for all that was asked."""
        self._watch = None
        if not self._asked:
            return
        answer, since = self._asked[0]
        left = since + ANSWER - self._loop.time()
        if left <= 0 and answer is self._doubted:
            self._end(TimeoutError(f"it has not answered for {ANSWER:g} s"))
            return
        self._doubted = answer if left <= 0 else None
        self._watch = self._loop.call_later(max(left, AGAIN), self._look)

    def _end(self, why: Exception) -> None:
        if self.closed:
            return
        self.closed = True
        if self._watch is not None:
            self._watch.cancel()
        self.transport.abort()
        asked, self._asked = self._asked, deque()
        for answer, _ in asked:
            if not answer.done():
                answer.set_exception(why)
                answer.exception()  # nobody may be waiting for it any more
        self.lost()


def _nothing(*_: object) -> None:
    """Nobody listens yet."""
