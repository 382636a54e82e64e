"""A TCP proxy between a client and a server, and every way in which a network can let them down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.servers.network import Network, Side

T = TypeVar("T")
_PORTS = {"postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379}


class Proxy:
    """Forwards 127.0.0.1:``port`` to the server that a URL names. A context manager.

    It runs in a thread of its own, so that it works for processes as well as for a test's own event loop, even a
    blocked one. Its methods may be called from any thread and have taken effect when they return.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._network = Network(self._target.hostname or "127.0.0.1", self._target_port)
        self.port = 0

    @property
    def url(self) -> str:
        """The server's URL, by way of this proxy."""
        credentials = self._target.netloc.rpartition("@")[0]
        at = f"{credentials}@" if credentials else ""
        return urlunsplit(self._target._replace(netloc=f"{at}127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        """How many are open now."""
        return self._do(lambda: len(self._network.links))

    def cut(self) -> None:
        """Break all connections (a reset, not an orderly end). New ones are let through."""
        self._do(self._network.cut)

    def refuse(self) -> None:
        """Break all connections and refuse new ones until ``resume``."""
        self._await(self._network.refuse())

    def pause(self) -> None:
        """Swallow nothing and forward nothing until ``resume``: a network that has gone silent."""
        self._do(self._network.flowing.clear)

    def forget(self) -> None:
        """Swallow for good what is sent on the connections of now, their ends too. New ones are carried."""
        self._do(self._network.forget)

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long, in both directions, until ``resume``."""
        self._do(lambda: setattr(self._network, "delay", seconds))

    def resume(self) -> None:
        """A good network again, from now on: what was cut stays cut, what was held back is forwarded."""
        self._await(self._network.resume())

    def cut_after(self, count: int, toward: Side) -> None:
        """Break the connection over which, counted from now, the ``count``-th byte toward that side has gone."""
        self._do(lambda: self._network.cut_after(count, toward))

    def cut_at(self, words: bytes, *, delivered: bool, then_refuse: bool = False) -> None:
        """Break the connection over which the client next sends ``words`` (``b"COMMIT"``).

        ``delivered`` True: the server gets them and the answer is lost; False: they never arrive. The client cannot
        tell one from the other. ``then_refuse``: nor can it ask, before ``resume``.
        """
        self._do(lambda: self._network.cut_at(words, delivered, then_refuse))

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.port = self._await(self._network.listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._await(self._network.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def _target_port(self) -> int:
        return self._target.port or _PORTS[self._target.scheme]

    def _do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return self._await(act())

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
