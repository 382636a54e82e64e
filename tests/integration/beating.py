"""An application whose handlers say heartbeats, or do not: at the top of a module, where a child process finds it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from flux import Context, Flux

TIMEOUT = 1.0
flux = Flux()


def beat(ctx: Context, seconds: float) -> None:
    """Say heartbeats for longer than the timeout, and nothing between."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ctx.heartbeat()
        time.sleep(TIMEOUT / 50)


@flux.job(isolation="process", heartbeat_timeout=TIMEOUT, timeout="60s", max_retries=0)
def in_process(ctx: Context, silent: bool) -> str:
    if silent:
        threading.Event().wait()
    beat(ctx, 2 * TIMEOUT)
    return "done"


@flux.job(heartbeat_timeout=TIMEOUT, timeout="60s", max_retries=0)
def in_thread(ctx: Context, silent: bool) -> str:
    if silent:
        threading.Event().wait(4 * TIMEOUT)
        try:
            ctx.heartbeat()
        except BaseException as error:
            Path(f"{ctx.job_id}.told").write_text(type(error).__name__)
            raise
    beat(ctx, 2 * TIMEOUT)
    return "done"


@flux.job(isolation="process")
def until_told(ctx: Context, file: str) -> int:
    """Say heartbeats until there is the file."""
    beats = 0
    while not Path(file).exists():
        ctx.heartbeat()
        beats += 1
    return beats
