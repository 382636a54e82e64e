"""`flux dev --reload`: restarts its child gracefully whenever a Python file under the current directory changes."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from flux.cli.children import Child
from flux.cli.failures import ExitCode
from flux.cli.signals import IMMEDIATE, Wish
from flux.cli.terminal import say

SETTLED = 5.0
"""Seconds after which the first child counts as started: what it fails of later is for an edit to mend."""


def can_reload() -> bool:
    """Whether watchfiles is installed."""
    from importlib.util import find_spec

    return find_spec("watchfiles") is not None


def reload(arguments: Sequence[str], patience: float) -> int:
    """Run `flux …` again and again until a signal. ``patience``: seconds until a child that does not stop is killed."""
    return asyncio.run(_reload(arguments, patience))


async def _reload(arguments: Sequence[str], patience: float) -> int:
    wish = Wish()
    wish.listen()
    child = Child(arguments)
    changes = _changes(wish)
    try:
        await child.start()
        # One task over all rounds: cancelling an async generator's step would end the generator.
        changed = asyncio.create_task(_next(changes))
        settled = time.monotonic() + SETTLED
        while True:
            ended = asyncio.create_task(child.wait())
            stop = asyncio.create_task(wish.stop.wait())
            await asyncio.wait([ended, stop, changed], return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if wish.stop.is_set():
                return await _end(child, ended, wish, patience)
            if ended.done() and not changed.done():
                code = ended.result()
                if code == 0 or (code > 0 and time.monotonic() < settled):
                    return code
                say(f"ended with {code}; starts again on the next change")
                stop = asyncio.create_task(wish.stop.wait())
                await asyncio.wait([stop, changed], return_when=asyncio.FIRST_COMPLETED)
                stop.cancel()
                if wish.stop.is_set():
                    return ExitCode.DONE
            settled = 0.0
            say(f"{changed.result()} changed, restarting")
            await child.end(patience)
            changed = asyncio.create_task(_next(changes))
            await child.start()
    finally:
        wish.stop.set()
        child.close()


async def _end(child: Child, ended: asyncio.Task[int], wish: Wish, patience: float) -> int:
    child.send(signal.SIGTERM)
    now = asyncio.create_task(wish.now.wait())
    await asyncio.wait([ended, now], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
    now.cancel()
    if not ended.done():
        # A second one is "at once"; the last word is SIGKILL.
        await child.end(5.0)
    if wish.now.is_set() and wish.signal is not None:
        # The child was told by SIGTERM, whatever this process heard.
        return IMMEDIATE + wish.signal
    return await ended


async def _next(changes: AsyncIterator[str]) -> str:
    return await anext(changes)


async def _changes(wish: Wish) -> AsyncIterator[str]:
    """The names of changed files, one for each burst of changes."""
    from watchfiles import PythonFilter, awatch

    here = Path.cwd()
    async for batch in awatch(here, watch_filter=PythonFilter(), stop_event=wish.stop, debounce=400):
        names = sorted({str(Path(path).relative_to(here)) for _, path in batch})
        yield names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    # Stopped: the signal is what counts from here on.
    await asyncio.Event().wait()
