"""One child process as its worker sees it: start, talk, kill, and the sentence about its end.

Everything happens in callbacks of the event loop and nothing blocks, except that starting a process takes half a
millisecond (asyncio starts its own subprocesses the same way). Children are started by the loop's thread, because
Linux kills a child with PR_SET_PDEATHSIG when the *thread* that started it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable

import msgspec

from flux.domain.job import ClaimedJob
from flux.engine import wire
from flux.engine.childstart import first_words, start_child
from flux.engine.context import Desk
from flux.engine.ending import Ending
from flux.engine.handler import Handler
from flux.engine.memory import past_limit, written

CHUNK = 16 << 10
"""Bytes read from a child in one turn of the loop: some hundred remarks, a millisecond of work."""

LOOK = 0.05
"""Seconds between two looks at a child where the system has no pidfd."""

GRACE = 1.0
"""Seconds that a child has to end by itself before it is killed."""

START_LIMIT = 60.0
"""Seconds that a child may take to start, with the imports of the applications that it is warmed with."""


class Died(Exception):
    """The child ended under an attempt. ``taken``: it had begun with it."""

    def __init__(self, sentence: str, taken: bool) -> None:
        super().__init__(sentence)
        self.taken = taken


class ChildProcess:
    """A child process. ``ready`` and ``over`` are called when it can take its first job, and when it is reaped."""

    def __init__(
        self, warm: list[str], ready: Callable[[ChildProcess], None], over: Callable[[ChildProcess], None]
    ) -> None:
        self.warmed = warm
        self.gone = asyncio.Event()
        self.retire: str | None = None
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._ready = ready
        self._over = over
        self._codec = wire.Codec(wire.FromChild)
        self._frames = wire.Frames()
        self._unsent = bytearray()
        self._events: deque[wire.Flush | wire.Done | Exception] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._number = 0
        self._taken = False
        self._attempt: tuple[ClaimedJob, Desk] | None = None
        self._why: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sock, self._popen = start_child()
        self._loop.add_reader(self._sock.fileno(), self._readable)
        self._pidfd: int | None = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self._popen.pid)
        if self._pidfd is not None:
            # The line's end is no sign of death: a process that the handler forked may hold it open.
            self._loop.add_reader(self._pidfd, self._look)
        else:
            self._loop.call_later(LOOK, self._look)
        self._send(first_words(warm))
        self._after(START_LIMIT, f"did not start within {START_LIMIT:.0f} seconds")

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._popen.pid

    # --- an attempt ---

    async def run(self, handler: Handler, claimed: ClaimedJob, desk: Desk, max_result: int) -> Ending:
        """Run one attempt. Raises ``Died``; when this is cancelled the caller must kill the child."""
        assert handler.target is not None
        self._number += 1
        self._taken = False
        self._attempt = claimed, desk
        self._send(wire.Run(self._number, handler.target, claimed, handler.memory, max_result, desk.now()))
        try:
            while True:
                event = await self._next()
                if isinstance(event, wire.Done):
                    self.retire = event.retire
                    return event.ending
                if isinstance(event, Exception):
                    raise event
                await self._flush(event, desk)
        except Died as death:
            hint = "" if self._why else _hint(handler, self._popen.returncode)
            raise Died(f"{death}{hint}", death.taken) from None
        finally:
            self._attempt = None

    async def _flush(self, asked: wire.Flush, desk: Desk) -> None:
        try:
            await desk.flush()
        except Exception as error:
            self._send(wire.Stored(asked.ticket, str(error) or type(error).__name__))
        else:
            self._send(wire.Stored(asked.ticket))

    async def _next(self) -> wire.Flush | wire.Done | Exception:
        while not self._events:
            self._wake = self._loop.create_future()
            await self._wake
        return self._events.popleft()

    # --- its end ---

    def kill(self, why: str | None = None) -> None:
        """End it and everything it started (its process group) at once."""
        if self.gone.is_set():
            return
        self._why = self._why or why
        # Not reaped yet, so neither id can belong to anybody else.
        for end in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                end(self._popen.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let it leave by itself (``atexit`` runs); killed when it does not. For a child without an attempt."""
        if self.gone.is_set():
            return
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._after(GRACE, "did not leave")

    def _after(self, seconds: float, why: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.kill, why)

    def _look(self) -> None:
        if self.gone.is_set():
            return
        if self._pidfd is None:
            if self._popen.poll() is None:
                self._loop.call_later(LOOK, self._look)
                return
        else:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            # What it left running goes with it; its group's id is ours until it is reaped.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        # What it said before it died counts.
        for _ in range(1000):
            if not self._read():
                break
        self.gone.set()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._put(Died(self.sentence(), self._taken or self._why is not None))
        self._over(self)

    def sentence(self) -> str:
        """How it ended."""
        code = self._popen.returncode
        if self._why is not None:
            return f"the handler's process {self._why}"
        if code == wire.EXIT_LOST:
            return "the handler's process lost its line to the worker (did the handler close all file descriptors?)"
        if code < 0:
            try:
                name = f" ({signal.Signals(-code).name})"
            except ValueError:
                name = ""
            return f"the handler's process was killed by signal {-code}{name}"
        return f"the handler's process ended with exit code {code}"

    # --- the line ---

    def _send(self, message: wire.FromParent) -> None:
        self._unsent += self._codec.frame(message)
        self._writable()

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            # It is dying; its end says the rest.
            sent = len(self._unsent)
        del self._unsent[:sent]
        if self.gone.is_set():
            return
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = self._sock.recv(CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock.fileno())
            if self._timer is None:
                self._after(GRACE / 5, "closed its line to the worker")
            return False
        try:
            for body in self._frames.feed(data):
                self._heard(self._codec.read(body))
        except (msgspec.MsgspecError, wire.TooLarge):
            self.kill("broke the protocol between it and the worker")
            return False
        return True

    def _heard(self, message: wire.FromChild) -> None:
        if isinstance(message, wire.Ready):
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._ready(self)
        elif self._attempt is None or message.number != self._number:
            return  # of an attempt that is over
        elif isinstance(message, wire.Taken):
            self._taken = True
        elif isinstance(message, wire.Note):
            self._note(message)
        elif isinstance(message, wire.Heartbeat):
            claimed, desk = self._attempt
            desk.heartbeat(claimed)
        else:
            self._put(message)

    def _note(self, note: wire.Note) -> None:
        assert self._attempt is not None
        claimed, desk = self._attempt
        if note.checkpoint is not None:
            claimed.checkpoint = note.checkpoint.decode()
        try:
            desk.note(claimed, progress=note.progress, checkpoint=note.checkpoint, log=note.log)
        except Exception as error:
            self._put(error)

    def _put(self, event: wire.Flush | wire.Done | Exception) -> None:
        self._events.append(event)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _hint(handler: Handler, code: int | None) -> str:
    if code == wire.EXIT_MEMORY and handler.memory is not None:
        return f": it {past_limit(handler.memory)}"
    if code is None or code >= 0:
        return ""
    if handler.memory is not None and code != -signal.SIGKILL:
        return f" while it was limited to {written(handler.memory)} of memory"
    return " (so ends what the kernel chooses when memory runs out)" if code == -signal.SIGKILL else ""
