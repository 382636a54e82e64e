"""What every peer's script has in common: the handler, the commands that the runner calls, and their clocks.

A script is started anew for each command, by the interpreter of that peer's own environment:

``prepare``            make the schema
``fill N``             enqueue N jobs in batches of 1,000; prints the seconds that took
``singles N CALLERS``  enqueue N jobs one by one, from CALLERS at the same time; prints the seconds
``pace N``             enqueue N jobs, each when the one before is long over; prints when each was begun
``watch``              wait for a line on stdin, then until no job is left in the store; prints when that was
``work``               run one worker until it is killed

Times are nanoseconds of CLOCK_MONOTONIC, which every process of one machine shares.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

POSTGRES = os.environ.get("BENCH_POSTGRES", "")
REDIS = os.environ.get("BENCH_REDIS", "")
BATCH = 1_000
CALLERS = 32


class _Lines:
    """The file of the handlers, opened once a process; a fork shares it, which O_APPEND makes safe."""

    def __init__(self) -> None:
        self.file = -1

    def append(self, job: str) -> None:
        if self.file < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self.file = os.open(os.environ["BENCH_LINES"], flags, 0o644)
        # Lines of one length, so that the runner sees how many there are by the size of the file.
        os.write(self.file, f"{job} {time.monotonic_ns():020d}\n".encode())


handle: Callable[[str], None] = _Lines().append
"""The handler of every peer: appends one line, the job's id and the time, and nothing else."""


class Peer(ABC):
    """One peer. ``insert``, ``insert_one`` and ``left`` are called between ``open`` and ``close``."""

    async def open(self) -> None:  # noqa: B027
        """Connect."""

    async def close(self) -> None:  # noqa: B027
        """Leave."""

    async def prepare(self) -> None:  # noqa: B027
        """Make the schema, where there is one."""

    @abstractmethod
    async def insert(self, jobs: list[str]) -> None:
        """Enqueue a batch in the peer's documented bulk way."""

    @abstractmethod
    async def insert_one(self, job: str) -> None:
        """Enqueue one job, durable as the peer makes it when this returns."""

    @abstractmethod
    async def left(self) -> int:
        """How many jobs the peer's own store does not yet hold for finished."""

    @abstractmethod
    async def work(self) -> None:
        """Run a worker until killed."""

    async def singles(self, total: int, callers: int) -> float:
        """Seconds for ``total`` single enqueues from ``callers`` callers at the same time."""

        async def call(caller: int) -> None:
            for number in range(caller, total, callers):
                await self.insert_one(name(number))

        begun = time.monotonic()
        await asyncio.gather(*(call(caller) for caller in range(callers)))
        return time.monotonic() - begun


class SyncPeer(Peer):
    """A peer without asyncio: its callers are threads."""

    def insert_batch(self, jobs: list[str]) -> None:
        """As ``insert``; a peer without a bulk way sends one by one, as its documentation does."""
        for job in jobs:
            self.send(job)

    @abstractmethod
    def send(self, job: str) -> None:
        """As ``insert_one``."""

    @abstractmethod
    def count(self) -> int:
        """As ``left``."""

    def make(self) -> None:
        """As ``prepare``."""

    @abstractmethod
    def serve(self) -> None:
        """As ``work``, in the main thread."""

    async def insert(self, jobs: list[str]) -> None:
        self.insert_batch(jobs)

    async def insert_one(self, job: str) -> None:
        self.send(job)

    async def left(self) -> int:
        return self.count()

    async def work(self) -> None:
        raise NotImplementedError

    async def singles(self, total: int, callers: int) -> float:
        def call(caller: int) -> None:
            for number in range(caller, total, callers):
                self.send(name(number))

        begun = time.monotonic()
        with ThreadPoolExecutor(callers) as threads:
            list(threads.map(call, range(callers)))
        return time.monotonic() - begun


def name(number: int) -> str:
    """The id of a job."""
    return f"{number:08d}"


def main(peer: Peer, run: Callable[[Coroutine[Any, Any, None]], object] = asyncio.run) -> None:
    """Do what the command line says."""
    command, *arguments = sys.argv[1:]
    if isinstance(peer, SyncPeer) and command in ("prepare", "work"):
        # Without a loop around them: some refuse to start inside one.
        peer.make() if command == "prepare" else peer.serve()
    else:
        run(_do(peer, command, [int(argument) for argument in arguments]))


async def _do(peer: Peer, command: str, numbers: list[int]) -> None:
    if command == "work":
        await peer.work()
        return
    if command == "prepare":
        await peer.prepare()
        return
    await peer.open()
    match command:
        case "fill":
            answer: object = await _fill(peer, numbers[0])
        case "singles":
            # Connections are opened by the first calls, which do not count.
            await peer.singles(10 * numbers[1], numbers[1])
            answer = await peer.singles(*numbers)
        case "pace":
            answer = await _pace(peer, numbers[0])
        case "watch":
            answer = await _watch(peer)
        case _:
            raise SystemExit(f"no such command: {command}")
    await peer.close()
    print(json.dumps(answer), flush=True)
    # Some peers leave threads behind.
    os._exit(0)


async def _fill(peer: Peer, total: int) -> float:
    begun = time.monotonic()
    for start in range(0, total, BATCH):
        await peer.insert([name(number) for number in range(start, min(start + BATCH, total))])
    return time.monotonic() - begun


async def _pace(peer: Peer, total: int) -> list[int]:
    begun = []
    for number in range(total):
        # Never in step with anybody's polling.
        await asyncio.sleep(random.uniform(0.02, 0.04))
        begun.append(time.monotonic_ns())
        await peer.insert_one(name(number))
        if number == 0:
            await _first_line()
    return begun


async def _first_line() -> None:
    """Until the worker is there: it has run a job."""
    lines = os.environ["BENCH_LINES"]
    for _ in range(6_000):
        if os.path.exists(lines) and os.path.getsize(lines) > 0:
            return
        await asyncio.sleep(0.01)
    raise SystemExit("no worker ran the first job within a minute")


async def _watch(peer: Peer) -> int:
    await peer.left()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    while await peer.left():
        await asyncio.sleep(0.005)
    return time.monotonic_ns()
