"""Handlers that run in the children of test_isolation.py; each does one good or bad thing."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from flux.engine.context import Context
from flux.engine.handler import BadArguments, Cancel, Discard, Handler, Mode, RetryAfter, Snooze


class Declared:
    """What the SDK's decorator leaves in a module: an object with a handler."""

    def __init__(self, call: Callable[[Context], Any], memory: int | None = None) -> None:
        name = call.__name__
        self.handler = Handler(
            type=name,
            call=call,
            mode=Mode.PROCESS,
            target=f"{__name__}:{name}",
            memory=memory,
            no_retry=(KeyError,),
        )


def limited(memory: int) -> Callable[[Callable[[Context], Any]], Declared]:
    return lambda call: Declared(call, memory)


@Declared
def echo(ctx: Context) -> Any:
    return ctx.payload


@Declared
async def echo_async(ctx: Context) -> Any:
    await asyncio.sleep(0)
    return ctx.payload


@Declared
def pid(ctx: Context) -> Any:
    return os.getpid()


@Declared
def whoami(ctx: Context) -> Any:
    return {
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "stdin": os.readlink("/proc/self/fd/0"),
        "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "sigterm": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "python_path": os.environ.get("PYTHONPATH"),
        "main_thread": threading.current_thread() is threading.main_thread(),
    }


@Declared
def describe(ctx: Context) -> Any:
    return [ctx.job_id, ctx.type, ctx.attempt, ctx.max_attempts, ctx.last_checkpoint]


@Declared
def remarks(ctx: Context) -> Any:
    ctx.progress(1, 2, "half")
    ctx.checkpoint({"row": 7})
    ctx.logger.info("said %s", "by the context")
    logging.getLogger("somebody.else").warning("said by logging")
    return None


@Declared
async def stores(ctx: Context) -> Any:
    await ctx.checkpoint(ctx.payload)
    return "stored"


@Declared
def flood(ctx: Context) -> Any:
    for i in range(20_000):
        ctx.progress(i)
    return None


@Declared
def prints(ctx: Context) -> Any:
    print("printed", flush=True)
    os.write(1, b"\xff\x00\x00\x00 raw to one\n")
    os.write(2, b"raw to two\n")
    return "printed"


@Declared
def ends(ctx: Context) -> Any:
    how = ctx.payload
    if how == "snooze":
        return Snooze("30s")
    if how == "cancel":
        return Cancel("not wanted")
    if how == "discard":
        return Discard("no use")
    if how == "not json":
        return object()
    if how == "large":
        return "x" * 9000
    raise {
        "exception": ValueError("wrong value"),
        "no_retry": KeyError("k"),
        "retry_after": RetryAfter("1m"),
        "arguments": BadArguments("n must be a number"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
    }[how]


@Declared
async def ends_async(ctx: Context) -> Any:
    await asyncio.sleep(0)
    return ends.handler.call(ctx)


@Declared
def dies(ctx: Context) -> Any:
    how = ctx.payload
    if how == "exit":
        os._exit(3)
    if how == "segfault":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(0)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "abort":
        os.abort()
    if how == "closes":
        os.closerange(0, 1000)
        return "unheard"
    if how == "closes and opens":
        os.closerange(0, 1000)
        for _ in range(50):
            os.open(os.devnull, os.O_RDWR)
        return "unheard"
    if how == "shuts":
        for fd in _sockets():
            socket.socket(fileno=fd).shutdown(socket.SHUT_RDWR)
        ctx.progress(1)
    if how == "garbage":
        for fd in _sockets():
            os.write(fd, b"Hello, this is not your protocol")
        time.sleep(60)
    return None


def _sockets() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.append(int(name))
        except OSError:
            continue
    return [fd for fd in found if fd > 2]


@Declared
def sleeps(ctx: Context) -> Any:
    ctx.checkpoint({"pid": os.getpid()})
    time.sleep(600)


@Declared
def spins(ctx: Context) -> Any:
    """Never lets go of the GIL, and is deaf to every signal that may be ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctx.checkpoint({"pid": os.getpid()})
    ctypes.PyDLL(None).sleep(600)


@Declared
def sleeps_with_grandchild(ctx: Context) -> Any:
    started = subprocess.Popen(["sleep", "600"])
    ctx.checkpoint({"pid": started.pid})
    time.sleep(600)


@Declared
def dies_with_grandchild(ctx: Context) -> Any:
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
    ctx.checkpoint({"pid": pid})
    os._exit(4)


@Declared
def forks(ctx: Context) -> Any:
    pid = os.fork()
    if pid == 0:
        ctx.progress(13)
        return "from the wrong process"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@Declared
def leaves_thread(ctx: Context) -> Any:
    def later() -> None:
        while not ctx.closed:
            time.sleep(0.001)
        ctx.log("INFO", "too late")
        time.sleep(600)

    threading.Thread(target=later, name="leftover", daemon=True).start()
    return os.getpid()


@Declared
async def leaks(ctx: Context) -> Any:
    async def forever() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ctx.logger.info("leak cancelled")

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    return [os.getpid(), task.done()]


@Declared
async def leaks_stubborn(ctx: Context) -> Any:
    async def forever() -> None:
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    return [os.getpid(), task.done()]


@Declared
async def uses_executor(ctx: Context) -> Any:
    await asyncio.to_thread(time.sleep, 0)
    return os.getpid()


@Declared
def moves(ctx: Context) -> Any:
    os.chdir("/")
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return os.getpid()


@Declared
def closes_output(ctx: Context) -> Any:
    sys.stdout.close()
    return os.getpid()


@limited(64 << 20)
def hungry(ctx: Context) -> Any:
    return len(bytearray(ctx.payload))


@limited(64 << 20)
async def hungry_async(ctx: Context) -> Any:
    await asyncio.sleep(0)
    return len(bytearray(ctx.payload))


kept: list[bytearray] = []


@Declared
def grows(ctx: Context) -> Any:
    kept.append(bytearray(b"x" * ctx.payload))
    return os.getpid()
