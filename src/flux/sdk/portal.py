"""The door from synchronous code: one background thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from flux.engine.ports import Here
from flux.sdk.calling import across_threads

T = TypeVar("T")


class Portal:
    """Runs coroutines for synchronous callers. The thread starts with the first call."""

    def __init__(self, farewell: Callable[[], Awaitable[None]]) -> None:
        """``farewell`` is awaited on the portal's loop before it ends."""
        self._farewell = farewell
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work()`` on the portal's loop and return its value. Callable from any thread but its own."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "this code runs on Flux's own event loop already: await the asynchronous method instead"
            )

        async def awaited() -> T:
            return await work()

        future = asyncio.run_coroutine_threadsafe(awaited(), self._running())
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def run_from_here(self, work: Callable[[Here], Coroutine[Any, Any, T]]) -> T:
        """Await ``work(here)`` on the portal's loop; what it gives to ``here`` runs in the calling thread meanwhile."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "this code runs on Flux's own event loop already: await the asynchronous method instead"
            )
        answer: T = across_threads(self._running(), work)
        return answer

    def refuse_in_a_loop(self, name: str, instead: str) -> None:
        """Raise ``RuntimeError`` in a thread whose event loop runs: what is waited for may need that very loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise RuntimeError(
            f"{name}() would block the running event loop until the job ends; use {instead} here"
        )

    def stop(self) -> None:
        """Say farewell, end the loop and its thread. A later call starts anew."""
        with self._lock:
            loop, thread, pid = self._loop, self._thread, self._pid
            self._loop = self._thread = None
        if loop is None or thread is None or pid != os.getpid() or not thread.is_alive():
            return
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(10)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked child has the object and not the thread.
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._pid = asyncio.new_event_loop(), os.getpid()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop, self._farewell), name="flux-portal", daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop, farewell: Callable[[], Awaitable[None]]) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_end(farewell))
    finally:
        loop.close()


async def _end(farewell: Callable[[], Awaitable[None]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    try:
        await farewell()
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
