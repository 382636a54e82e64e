"""`flux worker --processes N`: a supervisor that keeps N workers running."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Sequence

from flux.cli.children import Child
from flux.cli.failures import ExitCode
from flux.cli.signals import Wish

logger = logging.getLogger("flux.supervisor")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""Seconds after which a worker counts as well again: its next crash is met with the first pause."""


def supervise(commands: Sequence[Sequence[str]], patience: float) -> int:
    """Keep a process of `flux …` running for each command until a signal, or until all have left by themselves.

    A crashed one is started again after a pause that doubles; one that left with 0 (drained) stays away; one that
    refuses its settings ends them all. ``patience``: seconds until what does not stop is killed.
    """
    return asyncio.run(_supervise(commands, patience))


async def _supervise(commands: Sequence[Sequence[str]], patience: float) -> int:
    wish = Wish()
    wish.listen()
    children = [Child(arguments) for arguments in commands]
    forwarding = asyncio.create_task(_forward(wish, children, patience))
    try:
        codes = await asyncio.gather(*(_keep(child, wish) for child in children))
    finally:
        forwarding.cancel()
        await asyncio.gather(forwarding, return_exceptions=True)
        for child in children:
            child.close()
    return max(codes, default=0)


async def _keep(child: Child, wish: Wish) -> int:
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        await child.start()
        if wish.stop.is_set():
            # The signal came while it was being started, when there was nobody to pass it on to.
            child.send(signal.SIGTERM)
        code = await child.wait()
        if code == ExitCode.USAGE:
            wish.stop.set()
        if wish.stop.is_set():
            if code == -signal.SIGTERM:
                # It was being started, or starting anew, and could not hear the signal yet: it held nothing.
                return 0
            return abs(code) if code in (0, ExitCode.USAGE) or wish.now.is_set() else _late(child, code)
        if code == 0:
            return 0
        if time.monotonic() - began > STEADY:
            pause = FIRST_PAUSE
        logger.warning(
            "worker process %s ended with %s; another one starts in %.1f s", child.pid, _spoken(code), pause
        )
        try:
            async with asyncio.timeout(pause):
                await wish.stop.wait()
            return 0
        except TimeoutError:
            pause = min(pause * 2, LONGEST_PAUSE)


def _late(child: Child, code: int) -> int:
    logger.warning("worker process %s ended with %s while it was stopping", child.pid, _spoken(code))
    return ExitCode.FAILED


def _spoken(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"


async def _forward(wish: Wish, children: Sequence[Child], patience: float) -> None:
    """The first signal asks, the second insists; who hears neither is killed."""
    await wish.stop.wait()
    for child in children:
        child.send(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            await wish.now.wait()
        for child in children:
            child.send(signal.SIGTERM)
        await asyncio.sleep(5.0)
    except TimeoutError:
        pass
    for child in children:
        child.send(signal.SIGKILL)
