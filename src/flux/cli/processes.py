"""`flux worker --processes N`, and `flux dev` with it: a supervisor that keeps N workers running."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Mapping, Sequence

from flux.cli.children import Child
from flux.cli.failures import CommandError, ExitCode
from flux.cli.runtime import LAST_CHANCE
from flux.cli.signals import Wish
from flux.config import Settings
from flux.domain.duration import SECOND, format_duration

logger = logging.getLogger("flux.supervisor")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""Seconds after which a worker counts as well again: its next crash is met with the first pause."""


def worker_commands(
    spec: str, settings: Settings, processes: int, flags: Mapping[str, object], *, as_json: bool
) -> list[list[str]]:
    """The arguments of `flux` for so many workers; of ``flags`` those that are not None."""
    arguments = ["worker", spec, *(["--json"] if as_json else [])]
    for name, value in flags.items():
        if value is not None:
            arguments += [f"--{name}", str(value)]
    return [[*arguments, *_metrics(settings, number)] for number in range(processes)]


def _metrics(settings: Settings, number: int) -> list[str]:
    """Each process has numbers of its own, and so a port of its own: the first one's, and those that follow it."""
    return [] if settings.metrics_port is None else ["--metrics-port", str(settings.metrics_port + number)]


def supervise(commands: Sequence[Sequence[str]], patience: float) -> int:
    """Keep a process of `flux …` running for each command until a signal, or until all have left by themselves.

    A crashed one is started again after a pause that doubles; one that left with 0 (drained) stays away; one that
    refuses its settings ends them all. ``patience``: seconds until what does not stop is killed.
    """

    async def main() -> int:
        wish = Wish()
        wish.listen()
        return await _supervise([Child(arguments) for arguments in commands], wish, patience)

    return asyncio.run(main())


class WorkersPart:
    """The part of a process whose workers are processes of their own, which have its settings."""

    name = "worker processes"
    companion = False

    def __init__(self, commands: Sequence[Sequence[str]], settings: Settings) -> None:
        environ = {
            "FLUX_SHUTDOWN_GRACE": format_duration(settings.shutdown_grace),
            "FLUX_LOG_FORMAT": settings.log_format,
        }
        self._commands = commands
        self._environ = environ
        self._wish = Wish()
        self.patience = settings.shutdown_grace / SECOND + LAST_CHANCE

    async def run(self) -> None:
        """See ``Part``."""
        children = [Child(arguments, self._environ) for arguments in self._commands]
        code = await _supervise(children, self._wish, self.patience)
        if code == ExitCode.USAGE:
            raise CommandError("they refuse their settings", ExitCode.USAGE)

    def stop(self) -> None:
        """See ``Part``."""
        self._wish.stop.set()

    def stop_now(self) -> None:
        """See ``Part``."""
        self._wish.stop.set()
        self._wish.now.set()


async def _supervise(children: Sequence[Child], wish: Wish, patience: float) -> int:
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
