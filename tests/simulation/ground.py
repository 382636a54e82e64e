"""What a world stands on: the database that its processes share, and the loop on which they live."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

from flux.engine.ports import Store
from flux.stores.sqlite.hub import Hub
from flux.stores.sqlite.store import SqliteStore
from tests.simulation.audit import Auditor
from tests.simulation.handlers import Witness
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.plan import Plan

if TYPE_CHECKING:
    from tests.simulation.world import World


class Ground(Protocol):
    """A database, made for one world. Nothing is done before ``begin``."""

    option: str
    """What the command needs to stand on it."""
    storms: Sequence[float]
    """How many virtual seconds of bad luck there may be; none: as many as usual."""

    def make_loop(self, random: Random) -> VirtualLoop:
        """The loop of the world."""
        ...

    def make_plan(self, random: Random, lives: int, storm: float) -> Plan:
        """What callers will ask for."""
        ...

    def begin(self, world: World) -> None:
        """Make the database."""
        ...

    def connect(self, process: Process) -> Store:
        """A store of a process's own on it, not opened yet."""
        ...

    def time_changed(self) -> None:
        """The store's clock shows another time now."""
        ...

    def strike(self, process: Process) -> None:
        """Bad luck of its own kind, for one process."""
        ...

    def calm(self) -> None:
        """No more of it."""
        ...

    def forget(self, process: Process) -> None:
        """A process has ended or was killed."""
        ...

    def auditor(self, store: Store, witness: Witness) -> Auditor:
        """Who checks what the store did."""
        ...

    async def close(self) -> None:
        """Close the stores, those of the dead included."""
        ...

    def end(self) -> None:
        """Throw the database away."""
        ...


class SqliteGround:
    """A file in memory. A verb is one step: what happens within it is for the tests of the store."""

    option = ""
    storms: Sequence[float] = ()

    def __init__(self) -> None:
        self._hubs: list[ProcessHub] = []
        self._stores: list[SqliteStore] = []
        self._world: World
        self._place: tempfile.TemporaryDirectory[str]

    def make_loop(self, random: Random) -> VirtualLoop:
        """Nothing is waited for but time."""
        return VirtualLoop(random)

    def make_plan(self, random: Random, lives: int, storm: float) -> Plan:
        """Of the usual."""
        return Plan(random, lives, storm)

    def begin(self, world: World) -> None:
        """Make a place for the file."""
        self._world = world
        self._place = tempfile.TemporaryDirectory(prefix="flux-sim-", dir=_fast_place())

    def connect(self, process: Process) -> Store:
        """A store on the common file."""
        hub = ProcessHub(self, process)
        store = SqliteStore(
            str(Path(self._place.name) / "flux.db"),
            clock=self._world.wall,
            inline=True,
            random=Random(self._world.random.getrandbits(64)),
            hub=hub,
        )
        self._hubs.append(hub)
        self._stores.append(store)
        return store

    def committed(self, by: ProcessHub) -> None:
        """Let the other processes find out, each in its own time."""
        world = self._world
        for hub in self._hubs:
            if hub is not by and not hub.told and not hub.process.dead:
                hub.told = True
                world.loop.call_later(0.0005 + world.random.random() * 0.01, hub.heard, context=hub.context)

    def time_changed(self) -> None:
        """Stores ask the world itself."""

    def strike(self, process: Process) -> None:
        """What can go wrong here is in the weather."""

    def calm(self) -> None:
        """See ``strike``."""

    def forget(self, process: Process) -> None:
        """It need not be told any more."""
        self._hubs = [hub for hub in self._hubs if not hub.process.dead]

    def auditor(self, store: Store, witness: Witness) -> Auditor:
        """Verbs come one after the other, so each can be judged when it is applied."""
        return Auditor(store, witness)

    async def close(self) -> None:
        """Close the stores."""
        for store in self._stores:
            await store.close()

    def end(self) -> None:
        """Throw the file away."""
        self._place.cleanup()


class ProcessHub(Hub):
    """Commits of this process are told to it at once, to the others a little later, as their polls would find them."""

    def __init__(self, ground: SqliteGround, process: Process) -> None:
        super().__init__()
        self._ground = ground
        self.process = process
        self.context = process.context()
        self.told = False

    def notify(self) -> None:
        """This process has committed."""
        super().notify()
        self._ground.committed(self)

    def heard(self) -> None:
        """Another one has."""
        self.told = False
        super().notify()


def _fast_place() -> str | None:
    """Memory, where there is some: what is simulated is the engine, not the disk."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() else None
