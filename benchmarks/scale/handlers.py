"""What the workers of these measurements run."""

from __future__ import annotations

import asyncio
import time

from flux import Flux

flux = Flux()


@flux.job
async def noop() -> None:
    """Cost nothing."""


@flux.job
async def burn(milliseconds: float) -> None:
    """Use the processor for so long."""
    until = time.thread_time_ns() + milliseconds * 1e6
    while time.thread_time_ns() < until:
        pass


@flux.job
async def nap(seconds: float) -> None:
    """Hold a slot and nothing else."""
    await asyncio.sleep(seconds)
