"""Handlers as nobody should write them: each may harm its own attempt and nothing else."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import threading
import time
from typing import Any

from flux import Context, Flux

flux = Flux()

FOREVER = 3600.0


# --- that do not end ---------------------------------------------------------------------------------------------


@flux.job
async def patient() -> None:
    """Waits, and can be told to stop."""
    await asyncio.sleep(FOREVER)


@flux.job
async def stubborn() -> None:
    """Takes no notice of being cancelled."""
    end = time.monotonic() + FOREVER
    while time.monotonic() < end:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


@flux.job
def blocked() -> None:
    """Holds a thread."""
    time.sleep(FOREVER)


@flux.job
async def in_a_thread() -> None:
    """Waits for a thread of the default executor, which nothing can stop."""
    await asyncio.to_thread(time.sleep, FOREVER)


@flux.job(isolation="process")
def isolated() -> None:
    """Holds a child process."""
    time.sleep(FOREVER)


@flux.job
async def never_yields(seconds: float) -> str:
    """Blocks the event loop itself, once, or until it is let go: the second attempt is well-behaved."""
    if flux_attempts.first("never_yields"):
        end = time.monotonic() + seconds
        let_go = os.path.join(os.environ["FLUX_DEMO_DIR"], "never_yields.go")
        while time.monotonic() < end and not os.path.exists(let_go):
            time.sleep(0.05)
    return f"by {os.getpid()}"


class Attempts:
    """What ran before, by a file: in any process."""

    def first(self, name: str) -> bool:
        path = os.path.join(os.environ["FLUX_DEMO_DIR"], f"{name}.once")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


flux_attempts = Attempts()


# --- that leave something behind -----------------------------------------------------------------------------------


@flux.job
def leaves_a_thread() -> str:
    """Starts a thread that never ends and is no daemon."""
    threading.Thread(target=time.sleep, args=(FOREVER,), name="left-behind", daemon=False).start()
    return "left"


@flux.job
async def leaves_tasks(count: int = 100) -> str:
    """Starts tasks and forgets them; some of them raise what ends an event loop."""

    async def straggler(number: int) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            if number % 10 == 0:
                raise RuntimeError("straggled")

    for number in range(count):
        asyncio.create_task(straggler(number))  # noqa: RUF006
    await asyncio.sleep(0)
    return "left"


@flux.job
async def task_exits(how: str) -> None:
    """A task of the handler's own raises what would end the event loop."""

    async def exits() -> None:
        await asyncio.sleep(0)
        raise KeyboardInterrupt if how == "interrupt" else SystemExit(3)

    await asyncio.create_task(exits())


@flux.job
async def forgotten_task_exits() -> str:
    """So does one that nobody waits for."""

    async def exits() -> None:
        sys.exit(3)

    asyncio.create_task(exits())  # noqa: RUF006
    await asyncio.sleep(0.05)
    return "went on"


# --- that raise, recurse, return --------------------------------------------------------------------------------------


@flux.job
async def raises(how: str) -> None:
    """Raises in the event loop."""
    raise _error(how)


@flux.job
def raises_in_thread(how: str) -> None:
    """Raises in a thread."""
    raise _error(how)


@flux.job(isolation="process")
def raises_in_process(how: str) -> None:
    """Raises in a child process."""
    raise _error(how)


def _error(how: str) -> BaseException:
    if how == "exit":
        return SystemExit(3)
    if how == "interrupt":
        return KeyboardInterrupt()
    if how == "cancelled":
        return asyncio.CancelledError()
    if how == "generator":
        return GeneratorExit()
    if how == "stop":
        return StopIteration(3)

    class Mute(BaseException):
        def __str__(self) -> str:
            raise RuntimeError("has no text")

        __repr__ = __str__

    return Mute()


def _down(n: int) -> int:
    return _down(n + 1) + 1


@flux.job
async def recurses() -> int:
    """Recurses without end, in the event loop."""
    return _down(0)


@flux.job
def recurses_in_thread() -> int:
    """The same in a thread."""
    return _down(0)


@flux.job
async def returns(what: str) -> Any:
    """Returns what is not JSON, or too much of it."""
    if what == "object":
        return object()
    if what == "nan":
        return {"n": float("nan")}
    if what == "surrogate":
        return "\ud800"
    if what == "large":
        return "x" * (3 << 20)
    if what == "key":
        return {(1, 2): 3}
    loop: list[Any] = []
    if what == "itself":
        loop.append(loop)
    else:
        for _ in range(50_000):
            loop = [loop]
    return loop


# --- that say too much ------------------------------------------------------------------------------------------------


@flux.job
async def prints(megabytes: int) -> str:
    """Prints megabytes, in one line and in many."""
    sys.stdout.write("x" * (megabytes << 20) + "\n")
    for _ in range(10_000):
        print("another line of no use")
    return "printed"


@flux.job
def floods(ctx: Context, lines: int) -> str:
    """Logs without measure."""
    log = logging.getLogger("rogue")
    for number in range(lines):
        ctx.logger.info("line %d of %d %s", number, lines, "y" * 200)
        log.warning("line %d %s", number, "z" * 200)
        ctx.progress(number, lines)
    ctx.logger.info("z" * (4 << 20))
    log.warning("%d %d", 1)
    return "flooded"


@flux.job(isolation="process")
def floods_from_a_process(ctx: Context, lines: int) -> str:
    """The same through the line between processes."""
    return floods_call(ctx, lines)


def floods_call(ctx: Context, lines: int) -> str:
    for number in range(lines):
        ctx.logger.info("line %d of %d %s", number, lines, "y" * 200)
        ctx.progress(number, lines)
        print("printed by a child process")
    return "flooded"


# --- that take a process down -----------------------------------------------------------------------------------------


@flux.job(isolation="process")
def exits(code: int) -> None:
    """Ends its process."""
    os._exit(code)


@flux.job(isolation="process")
def segfaults() -> None:
    """Reads where there is nothing."""
    ctypes.string_at(0)


@flux.job(isolation="process", memory="64MB")
def bomb() -> int:
    """Takes memory without end."""
    taken = []
    while True:
        taken.append(bytearray(8 << 20))


@flux.job(isolation="process", memory="64MB")
def modest() -> int:
    """Takes what it may have."""
    return len(bytearray(8 << 20))


@flux.job
async def well_behaved(number: int) -> int:
    """An honest neighbour."""
    await asyncio.sleep(0.01)
    return number
