"""Real connections to a real server under virtual time.

A process's bytes leave it, travel for a while that chance decides, and are written to a socket; what comes back travels
in the same way. Time stands still while an answer of the server is under way and moves on once all are here, so that
what the processes have asked at the same moment is done by the server at the same time, with its locks and its races.
A statement that waits for a lock is not waited for: whoever holds it may need time to pass.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from itertools import count
from random import Random
from typing import Any

import msgspec

from tests.simulation.loop import STRAND, Process, Strand, VirtualLoop

PATIENCE = 0.03
"""Real seconds after which a statement counts as one that waits for a lock."""


class Roads(msgspec.Struct):
    """How bad the network is. Probabilities for each piece of data; ``slow``: the longest usual delay in seconds.

    ``cut``: the connection breaks there, before or after the piece has arrived. ``stall``: it is under way for up to
    ``longest`` seconds.
    """

    cut: float = 0.0
    stall: float = 0.0
    slow: float = 0.003
    longest: float = 0.0

    def calm(self) -> None:
        """A good network."""
        self.cut = self.stall = 0.0


class WiredLoop(VirtualLoop, asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, random: Random) -> None:
        self.wires: dict[Wire, None] = {}
        self.roads = Roads()
        self.dice = random
        self.closed_until: dict[Process, float] = {}
        """Until when the network lets nothing of a process through."""
        self.passing: Callable[[], None] = lambda: None
        """Called whenever time has gone on."""
        self._io: deque[asyncio.Handle] = deque()
        self._arrived: dict[Wire, None] = {}
        self._knocking: dict[int, Strand] = {}
        self._knocks = count()
        self._serials = count()
        super().__init__(random)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None, **kwargs: Any
    ) -> Any:
        # A context of a task's own is still one of the process that starts it.
        if context is not None:
            if STRAND not in context:
                context.run(STRAND.set, STRAND.get(self.world.main))
            kwargs["context"] = context
        return super()._make_task(loop, coro, **kwargs)

    # --- connecting -------------------------------------------------------------------------------------------

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Connect, as soon and as well as the network lets it."""
        strand = STRAND.get(self.world.main)
        await asyncio.sleep(self.journey(strand.process))
        if self.breaks(strand.process):
            raise ConnectionRefusedError("refused (simulated)")
        knock = next(self._knocks)
        self._knocking[knock] = strand
        try:
            _, wire = await super().create_connection(
                lambda: Wire(self, strand, next(self._serials)), *args, **options
            )
        finally:
            del self._knocking[knock]
        driver = protocol_factory()
        wire.attach(driver)
        return wire, driver

    def journey(self, process: Process) -> float:
        """How long the next piece of data of a process travels, in seconds."""
        random, roads = self.dice.random, self.roads
        if process is self.world:
            return 0.0
        closed = self.closed_until.get(process, 0.0) - self.time()
        if closed > 0:
            return closed + random() * roads.slow
        if random() < roads.stall:
            return random() * roads.longest
        return random() * roads.slow if random() < 0.5 else 0.0

    def breaks(self, process: Process) -> bool:
        """Whether the connection breaks here. Those of the world itself never do."""
        return process is not self.world and self.dice.random() < self.roads.cut

    def arrived(self, wire: Wire) -> None:
        """Something has come for it."""
        self._arrived[wire] = None

    # --- waiting for the server -------------------------------------------------------------------------------

    def _add_callback(self, handle: asyncio.Handle) -> None:
        """What sockets have to say is said to the network, which belongs to no process."""
        self._io.append(handle)

    def _run_once(self) -> None:
        if not self._active:
            self._wait_for_answers()
        super()._run_once()

    def _wait_for_answers(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            asked = [wire for wire in self.wires if wire.awaited]
            knocking = any(not strand.frozen for strand in self._knocking.values())
            left = until - time.monotonic() if asked or knocking else 0.0
            self._process_events(self._selector.select(max(left, 0.0)))
            while self._io:
                handle = self._io.popleft()
                if not handle.cancelled():
                    handle._run()
            if self._active:
                return  # somebody is being connected and goes on
            if left <= 0.0:
                for wire in asked:
                    wire.awaited = False
                break
        self._deliver()

    def _deliver(self) -> None:
        wires = sorted(self._arrived, key=lambda wire: wire.serial)
        self._arrived.clear()
        self.dice.shuffle(wires)
        for wire in wires:
            wire.bring()

    def _jump(self) -> None:
        super()._jump()
        self.passing()


class Wire(asyncio.Transport, asyncio.Protocol):
    """One connection: the driver's transport on one side, the socket's protocol on the other."""

    def __init__(self, loop: WiredLoop, strand: Strand, serial: int) -> None:
        super().__init__()
        self.process = strand.process
        self.serial = serial
        self.awaited = False
        """Something was sent, nothing has come back since, and it is not known to wait for a lock."""
        self._loop = loop
        self._context = copy_context()
        self._driver: asyncio.Protocol | None = None
        self._socket: asyncio.Transport
        self._out: list[bytes] = []
        self._in: list[bytes] = []
        self._end: list[Exception | None] = []
        """How it ended, which the driver does not know yet."""
        self._sending = False
        self._bringing = False
        self._paused = False
        self._leaving = False
        self._over = False

    def attach(self, driver: asyncio.Protocol) -> None:
        """Let the driver begin."""
        self._driver = driver
        driver.connection_made(self)

    # --- the driver's side ------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send something on its way, which nothing can call back."""
        if not self._leaving and not self._over:
            self._out.append(bytes(data))
            self._set_out()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Several pieces at once."""
        self.write(b"".join(list_of_data))

    def abort(self) -> None:
        """Be done with it. The server learns of it when that arrives there."""
        if self._leaving or self._over:
            return
        self.hang_up()
        self._loop.call_soon(self._tell_lost, None, context=self._context)

    def close(self) -> None:
        """See ``abort``: whoever closes has said goodbye before."""
        self.abort()

    def is_closing(self) -> bool:
        """Whether it is of no more use."""
        return self._leaving or self._over

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the socket."""
        return self._socket.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """The driver has enough."""
        self._paused = True

    def resume_reading(self) -> None:
        """It wants more."""
        self._paused = False
        if self._in or self._end:
            self._loop.arrived(self)

    def hang_up(self) -> None:
        """Its process is gone, or needs it no more: what was written still arrives."""
        self._leaving = True
        self.awaited = False
        self._in.clear()
        self._end.clear()
        self._set_out()

    # --- the network ------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Break it."""
        if not self._over:
            self._over, self.awaited = True, False
            self._socket.abort()
            self._lost(ConnectionResetError("cut (simulated)"))

    def tear_down(self) -> None:
        """The world is over: nothing is to be left of it."""
        self._leaving = self._over = True
        self._socket.abort()
        self._tell_lost(None)

    def _set_out(self) -> None:
        if not self._sending:
            self._sending = True
            loop = self._loop
            loop.call_later(loop.journey(self.process), self._send, context=loop.world.context())

    def _send(self) -> None:
        loop, self._sending = self._loop, False
        if self._over:
            return
        if loop.time() < loop.closed_until.get(self.process, 0.0):
            self._set_out()
            return
        data = b"".join(self._out)
        self._out.clear()
        broken = not self._leaving and loop.breaks(self.process)
        if data and not (broken and loop.dice.random() < 0.5):
            self._socket.write(data)
            self.awaited = not self._leaving
        if broken:
            self.cut()
        elif self._leaving:
            self._over = True
            self._socket.abort()

    def bring(self) -> None:
        """What came for the driver sets out to it."""
        if not self._bringing and not self._leaving:
            self._bringing = True
            loop = self._loop
            loop.call_later(loop.journey(self.process), self._hand_over, context=self._context)

    def _hand_over(self) -> None:
        self._bringing = False
        if self._leaving or self._paused:
            return
        data = b"".join(self._in)
        self._in.clear()
        if data and self._driver is not None:
            self._driver.data_received(data)
        if self._end and not self._paused:
            self._leaving = True
            self._tell_lost(self._end.pop())

    def _tell_lost(self, error: Exception | None) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.connection_lost(error)

    # --- the socket's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self._loop.wires[self] = None

    def data_received(self, data: bytes) -> None:
        """The server has said something."""
        self.awaited = False
        if not self._leaving:
            self._in.append(data)
            self._loop.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has hung up, or we have."""
        self._loop.wires.pop(self, None)
        if not self._over:
            self._over, self.awaited = True, False
            self._lost(exc)

    def _lost(self, error: Exception | None) -> None:
        if not self._leaving:
            self._end.append(error)
            self._loop.arrived(self)
