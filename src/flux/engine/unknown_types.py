"""Jobs whose type no live worker knows: they wait, visibly, and die after a while with a word why."""

from __future__ import annotations

import logging

from flux.domain.words import agree, plural
from flux.engine.loops import forever
from flux.engine.ports import Clock, Store

logger = logging.getLogger("flux.unknown_types")

CHUNK = 1000


class UnknownTypes:
    """Buries jobs of a type that has been unknown for ``wait`` microseconds without a break.

    The wait counts from when this leader first saw that nobody knows the type, not from the job's age: a fleet that was
    down for a night must not find its jobs dead because another team's worker came up first.
    """

    def __init__(self, store: Store, clock: Clock, wait: int, interval: int) -> None:
        self._store = store
        self._clock = clock
        self._wait = wait
        self._pause = min(1.0, interval / 1_000_000)
        self._since: dict[tuple[str, str], int] = {}

    async def run(self, epoch: int) -> None:
        """Look until cancelled. Raises ``NotLeader``."""

        async def work() -> float:
            now = self._clock.monotonic()
            unknown = [(kind, queue) for kind, queue, _ in await self._store.duties.waiting_types()]
            self._since = {key: self._since.get(key, now) for key in unknown}
            again = False
            for (kind, queue), since in self._since.items():
                if now - since >= self._wait:
                    before = await self._store.now() - self._wait
                    buried = await self._store.duties.bury(epoch, kind, queue, before, CHUNK)
                    again = again or buried >= CHUNK
                    if buried:
                        logger.error(
                            "%s of type %s on queue %s %s dead: no worker knows the type",
                            plural(buried, "job"),
                            kind,
                            queue,
                            agree(buried, "is", "are"),
                        )
            return 0.0 if again else self._pause

        await forever(logger, "the search for unknown types", work)
