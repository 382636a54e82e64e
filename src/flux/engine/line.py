"""A child's line to its worker, and the desk that speaks through it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time

from flux.domain.job import ClaimedJob, LogLine
from flux.engine import wire
from flux.engine.wire import Codec, FromChild

PACE = 0.05
"""Seconds between two progress remarks, and between two heartbeats, of one attempt: a handler that says them in a tight
loop must not keep the worker's event loop busy. The last one said is always sent."""


def die() -> None:
    """End this process and what its handlers started, at once."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(wire.EXIT_LOST)


class Line:
    """The socket to the worker. Any thread may send; one reads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pid = os.getpid()
        self._identity = _identity(sock.fileno())
        self._sending = threading.Lock()
        self._out = Codec(wire.FromChild)
        self._in = Codec(wire.FromParent)
        # A process that a handler forks must neither speak for it nor keep the line open after its end.
        os.register_at_fork(after_in_child=self._forked)

    @property
    def mine(self) -> bool:
        """False in a process that a handler forked."""
        return os.getpid() == self._pid

    def send(self, message: FromChild) -> None:
        """Say something; waits while the worker is behind. A line that is gone ends this process."""
        if not self.mine:
            return
        with self._sending:
            frame = self._out.frame(message)
            try:
                # A handler may have closed our descriptor and opened something else under its number.
                if _identity(self._sock.fileno()) != self._identity:
                    os._exit(wire.EXIT_LOST)
                self._sock.sendall(frame)
            except OSError:
                os._exit(wire.EXIT_LOST)

    def receive(self) -> wire.FromParent | None:
        """The next message; None when the worker closed the line."""
        try:
            head = self._exactly(wire.HEAD)
            body = head and self._exactly(int.from_bytes(head, "big"))
        except OSError:
            os._exit(wire.EXIT_LOST)
        if not body:
            return None
        message: wire.FromParent = self._in.read(body)
        return message

    def _exactly(self, size: int) -> bytes | None:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            count = self._sock.recv_into(rest)
            if not count:
                return None
            rest = rest[count:]
        return bytes(data)

    def _forked(self) -> None:
        self._sock.close()


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


class LineDesk:
    """The desk of one attempt in a child: what is said there goes down the line."""

    def __init__(self, line: Line, number: int, now: int, pacer: Pacer) -> None:
        self._line = line
        self._number = number
        self._skew = now - time.time_ns() // 1000
        self._pacer = pacer
        self._lock = threading.Lock()
        self._held: bytes | None = None
        self._next_progress = 0.0
        self._beating = False
        self._next_heartbeat = 0.0
        self._tickets = 0
        self._waiting: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = {}
        self._closed = False

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        """Pass a remark on."""
        if not self._line.mine:
            return  # a forked process may have inherited the lock taken
        with self._lock:
            if self._closed:
                return
            if progress is not None and checkpoint is None and log is None:
                now = time.monotonic()
                if now < self._next_progress:
                    self._held = progress
                    self._pacer.wake(self)
                    return
                self._next_progress = now + PACE
                self._held = None
            self._line.send(wire.Note(self._number, progress, checkpoint, log))

    def heartbeat(self, job: ClaimedJob) -> None:
        """Pass a heartbeat on."""
        if self._beating or not self._line.mine:
            return
        if time.monotonic() < self._next_heartbeat:
            self._beating = True
            self._pacer.wake(self)
            return
        with self._lock:
            if not self._closed:
                self._beat()

    async def flush(self) -> None:
        """Return when the worker says that everything is stored."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self.say_held()
        with self._lock:
            if self._closed:
                return
            self._tickets += 1
            ticket = self._tickets
            self._waiting[ticket] = loop, stored
        self._line.send(wire.Flush(self._number, ticket))
        await stored

    def now(self) -> int:
        """The worker's time."""
        return time.time_ns() // 1000 + self._skew

    def stored(self, answer: wire.Stored) -> None:
        """The answer to a ``flush``; called by the thread that reads."""
        with self._lock:
            waiting = self._waiting.pop(answer.ticket, None)
        if waiting is not None:
            loop, future = waiting
            try:
                loop.call_soon_threadsafe(_settle, future, answer.error)
            except RuntimeError:
                return  # its loop is closed: nobody waits any more

    def say_held(self) -> None:
        """Send the progress and the heartbeat that were held back."""
        with self._lock:
            held, self._held = self._held, None
            beating, self._beating = self._beating, False
            if self._closed:
                return
            if held is not None:
                self._next_progress = time.monotonic() + PACE
                self._line.send(wire.Note(self._number, held, None, None))
            elif beating:
                self._beat()

    def _beat(self) -> None:
        self._next_heartbeat = time.monotonic() + PACE
        self._line.send(wire.Heartbeat(self._number))

    def close(self) -> None:
        """The attempt is over: what its leftovers say is dropped."""
        self.say_held()
        with self._lock:
            self._closed = True


class Pacer:
    """Sends progress that was held back a little later. Its thread starts when there is some."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._desk: LineDesk | None = None
        self._thread: threading.Thread | None = None

    def wake(self, desk: LineDesk) -> None:
        """This desk holds something."""
        self._desk = desk
        if not self._wanted.is_set():
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="flux-progress", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._wanted.wait():
            time.sleep(PACE)
            self._wanted.clear()
            if self._desk is not None:
                self._desk.say_held()


def _settle(future: asyncio.Future[None], error: str | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(RuntimeError(error))
