"""Running named parts (worker, scheduler, dashboard, api) on one engine in one event loop.

They start together and stop in the order in which they are listed, each given the time that it needs: the worker first,
so that nobody new is promised a slot, the API last, so that clients are answered for as long as jobs end.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from flux.cli.failures import CommandError, code_of, sentence
from flux.cli.signals import Wish

logger = logging.getLogger("flux.runtime")

SWITCH = 0.0005
"""Seconds between thread switches: by Python's own 5 ms the store's writer thread waits that long for the GIL."""

LAST_CHANCE = 3.0
"""Seconds that a part has to end once it was told to end at once."""


class Part(Protocol):
    """Something that runs until it is stopped."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def companion(self) -> bool:
        """Whether it only accompanies the others: nobody waits for its end."""
        ...

    @property
    def patience(self) -> float:
        """The most seconds that its graceful end takes."""
        ...

    async def run(self) -> None:
        """Run; returns after a stop or when there is nothing left to do, raises when it cannot go on."""
        ...

    def stop(self) -> None:
        """End gracefully."""
        ...

    def stop_now(self) -> None:
        """End at once."""
        ...


class PartFailed(CommandError):
    """One part could not go on, and the others were stopped."""


async def run_parts(parts: Sequence[Part], wish: Wish) -> None:
    """Run all until a signal, the end of the last one (companions aside), or the first failure; then stop the rest in
    order.

    Raises ``PartFailed`` with the first failure.
    """
    tasks = {part.name: asyncio.create_task(part.run(), name=part.name) for part in parts}
    asked = asyncio.create_task(wish.stop.wait())
    failed: BaseException | None = None
    try:
        while not asked.done() and failed is None:
            running = [task for task in tasks.values() if not task.done()]
            if all(part.companion or tasks[part.name].done() for part in parts):
                break
            await asyncio.wait([asked, *running], return_when=asyncio.FIRST_COMPLETED)
            failed = _first_failure(tasks)
        for part in parts:
            await _end(part, tasks[part.name], wish)
        failed = failed or _first_failure(tasks)
    finally:
        asked.cancel()
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(asked, *tasks.values(), return_exceptions=True)
    if failed is not None:
        name = next(name for name, task in tasks.items() if task.done() and _failure(task) is failed)
        raise PartFailed(f"the {name} stopped: {sentence(failed)}", code_of(failed)) from failed


async def _end(part: Part, task: asyncio.Task[None], wish: Wish) -> None:
    if task.done():
        return
    part.stop()
    hurry = asyncio.create_task(wish.now.wait())
    await asyncio.wait([task, hurry], timeout=part.patience, return_when=asyncio.FIRST_COMPLETED)
    hurry.cancel()
    if not task.done():
        part.stop_now()
        await asyncio.wait([task], timeout=LAST_CHANCE)
        if not task.done():
            logger.warning("the %s did not end in time and was cut off", part.name)


def _first_failure(tasks: dict[str, asyncio.Task[None]]) -> BaseException | None:
    return next((error for task in tasks.values() if task.done() and (error := _failure(task))), None)


def _failure(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def run_loop(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine to its end, on uvloop where that is installed."""
    sys.setswitchinterval(SWITCH)
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())
