"""A child process that runs handlers for a worker, one after the other: ``python -m flux.engine.child FD PARENT``.

The main thread runs the handlers, so that ``signal`` and what else wants the main thread works; a second one reads the
line, so that the worker's end is noticed in the middle of a handler. The worker kills this process to stop a handler;
nothing in here needs to be able to.
"""

from __future__ import annotations

import ctypes
import faulthandler
import logging
import os
import queue
import signal
import socket
import sys
import threading
from contextvars import copy_context

from flux.domain.job import ErrorKind
from flux.engine import wire
from flux.engine.capture import CaptureHandler, current
from flux.engine.context import Context
from flux.engine.ending import Ending, failed, of_exception, of_value
from flux.engine.line import Line, LineDesk, Pacer, die
from flux.engine.memory import MemoryLimit, past_limit, ran_out, resident
from flux.engine.targets import Targets
from flux.engine.tidy import Surroundings, Waiting

_PR_SET_PDEATHSIG = 1

MOST_JOBS = 1000
"""Jobs after which a child is replaced, so that slow leaks of handlers end with it."""

MOST_GROWTH = 200 << 20
"""Bytes of growth after which a child is replaced. What a handler's module loads at import does not count."""


class Child:
    """This process's state: the line, the handlers found so far, the attempt that runs."""

    def __init__(self, line: Line, begin: wire.Begin) -> None:
        self._line = line
        self._targets = Targets(begin.main_name, begin.main_path)
        self._inbox: queue.SimpleQueue[wire.Run | None] = queue.SimpleQueue()
        self._desk: LineDesk | None = None
        self._pacer = Pacer()
        self._at_work = True
        self._capture = Printing()
        self._waiting = Waiting()
        self._jobs = 0
        self._base = 0
        self._warm = begin.warm

    def serve(self) -> None:
        """Run jobs until the worker closes the line."""
        reader = threading.Thread(target=self._read, name="flux-line", daemon=True)
        reader.start()
        for target in self._warm:
            try:
                self._targets.find(target)
            except BaseException:
                # The job that asks for it will say so.
                logging.getLogger("flux.child").debug("cannot warm %s", target, exc_info=True)
        self._base = resident()
        self._at_work = False
        self._line.send(wire.Ready())
        while (run := self._inbox.get()) is not None:
            self._line.send(wire.Taken(run.number))
            self._jobs += 1
            done = self._attempt(run)
            self._desk = None
            self._at_work = False
            self._line.send(done)
        self._waiting.close()

    def _read(self) -> None:
        try:
            while (message := self._line.receive()) is not None:
                if isinstance(message, wire.Run):
                    self._at_work = True
                    self._inbox.put(message)
                elif isinstance(message, wire.Stored) and (desk := self._desk) is not None:
                    desk.stored(message)
        except MemoryError:
            os._exit(wire.EXIT_MEMORY)
        if self._at_work:
            # The worker is gone, or has given this process up.
            die()
        self._inbox.put(None)

    def _attempt(self, run: wire.Run) -> wire.Done:
        desk = self._desk = LineDesk(self._line, run.number, run.now, self._pacer)
        context = Context(run.claimed, desk)
        surroundings = Surroundings()
        root = logging.getLogger()
        token = current.set(context)
        retire: str | None = None
        try:
            if not self._targets.known(run.target):
                before = resident()
                self._targets.find(run.target)
                self._base += max(0, resident() - before)
                # Threads that a library starts at its import are no handler's leftovers.
                surroundings = Surroundings()
            root.addHandler(self._capture)
            ending, retire = self._call(run, context)
        except BaseException as error:
            ending = of_exception(error)
        finally:
            root.removeHandler(self._capture)
            current.reset(token)
        if not self._line.mine:
            # A process that the handler forked came back from it; only its parent speaks for the attempt.
            os._exit(1)
        context.closed = True
        desk.close()
        retire = retire or surroundings.left_behind() or self._worn_out()
        return wire.Done(run.number, ending, retire)

    def _call(self, run: wire.Run, context: Context) -> tuple[Ending, str | None]:
        handler = self._targets.find(run.target)
        stuck: str | None = None
        try:
            with MemoryLimit(run.memory):
                # In a context of its own, so that context variables end with their attempt too.
                running = copy_context()
                if handler.heartbeat_timeout is not None:
                    assert self._desk is not None
                    self._desk.heartbeat(run.claimed)  # it begins: from here on its silence counts
                value, error, stuck = running.run(self._waiting.finish, running.run(handler.call, context))
                if error is not None:
                    raise error
                return of_value(value, run.max_result), stuck
        except BaseException as raised:
            if run.memory is not None and ran_out(raised):
                return failed(
                    ErrorKind.CRASHED, f"the handler {past_limit(run.memory)}"
                ), "it ran out of memory"
            if not self._line.mine:
                sys.excepthook(type(raised), raised, raised.__traceback__)
            return of_exception(raised, handler.no_retry), stuck

    def _worn_out(self) -> str | None:
        if self._jobs >= MOST_JOBS:
            return f"it ran {self._jobs} jobs"
        grown = resident() - self._base
        return f"it grew by {grown >> 20} MB" if grown > MOST_GROWTH else None


class Printing(CaptureHandler):
    """Keeps log records with the attempt, and prints warnings as logging does where nobody configured it.

    It is on the root logger only while a handler runs: at import ``logging.basicConfig()`` must find nothing there.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        super().emit(record)
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and logging.getLogger().handlers == [self]:
            last.handle(record)


def begin_life(parent: int) -> None:
    """Signals and the tie to the worker."""
    # Ctrl-C is the worker's to decide. What the worker ignores or blocks is not this process's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if sys.platform == "linux":
        # The reading thread notices the worker's end too, but not under a handler that never lets go of the GIL.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        die()
    if sys.stderr is not None:
        faulthandler.enable()


def resemble(begin: wire.Begin) -> None:
    """Take over what the worker's interpreter has: path, arguments, log level."""
    sys.path[:] = begin.path
    sys.argv[:] = begin.argv
    if begin.python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = begin.python_path
    logging.getLogger().setLevel(begin.log_level)


def main() -> None:
    """Serve the worker at the other end of the descriptor."""
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    begin_life(parent)
    os.set_inheritable(fd, False)
    line = Line(socket.socket(fileno=fd))
    begin = line.receive()
    if not isinstance(begin, wire.Begin):
        return
    resemble(begin)
    Child(line, begin).serve()


if __name__ == "__main__":
    main()
