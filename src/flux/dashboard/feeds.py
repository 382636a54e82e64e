"""One stream per open page. Viewers of the same page share one feed: its queries, its rendering, its bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from flux.dashboard.shared import FRESH, Shot
from flux.domain.errors import FluxError, Unavailable
from flux.engine.ports import Changes, Clock

LONGEST_SILENCE = 1.0
"""Seconds after which a page is looked at although nothing was announced: samples and leases age by themselves."""

AWAY = "The store is away, so this is what it last said. {}"
GONE = "This page cannot be renewed: {}."

Look = Callable[[], Awaitable[Shot[bytes]]]


@dataclass(slots=True)
class _Feed:
    """What the viewers of one page are told. ``whole`` is the newest content, ``beat`` the news that it still holds."""

    look: Look
    viewers: int = 0
    whole: bytes = b""
    whole_number: int = 0
    beat: bytes = b""
    turn: asyncio.Event | None = None
    task: asyncio.Task[None] | None = None


class Feeds:
    """The feeds of the pages that somebody has open."""

    def __init__(self, changes: Changes, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock
        self._feeds: dict[str, _Feed] = {}
        self._closed = False

    async def watch(self, key: str, look: Look, seen: str) -> AsyncGenerator[bytes, None]:
        """Server-sent events of a page until the viewer leaves. ``seen`` is the digest of what it shows already."""
        async with self._joined(key, look) as feed:
            shown = -1
            while not self._closed:
                turn = feed.turn
                assert turn is not None
                if feed.whole and shown != feed.whole_number:
                    first, shown = shown == -1, feed.whole_number
                    # What the document shows already need not be sent again when its stream begins.
                    if not (first and seen and b"id: " + seen.encode() in feed.whole[:64]):
                        yield feed.whole
                if feed.beat:
                    yield feed.beat
                await turn.wait()

    async def close(self) -> None:
        """End every stream: a server that shuts down would wait for them."""
        self._closed = True
        for feed in list(self._feeds.values()):
            if feed.turn is not None:
                feed.turn.set()

    @asynccontextmanager
    async def _joined(self, key: str, look: Look) -> AsyncIterator[_Feed]:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = _Feed(look, turn=asyncio.Event())
            feed.task = asyncio.create_task(self._run(feed))
        feed.viewers += 1
        try:
            yield feed
        finally:
            feed.viewers -= 1
            if feed.viewers == 0:
                if self._feeds.get(key) is feed:
                    del self._feeds[key]
                if feed.task is not None:
                    feed.task.cancel()
                    await asyncio.gather(feed.task, return_exceptions=True)

    async def _run(self, feed: _Feed) -> None:
        digest = ""
        settled = False
        while True:
            began = self._clock.monotonic()
            version = self._changes.version()
            try:
                shot = await feed.look()
            except Unavailable as error:
                feed.beat = _event("beat", {"now": self._clock.now(), "away": AWAY.format(error)})
            except FluxError as error:
                feed.beat = _event("beat", {"now": self._clock.now(), "away": GONE.format(error)})
            except Exception as error:
                # A page that cannot be made must say so and go on trying; a feed that dies would look alive.
                feed.beat = _event("beat", {"now": self._clock.now(), "away": GONE.format(repr(error))})
            else:
                new = digest_of(shot.value)
                if new != digest:
                    digest = new
                    feed.whole = _whole(shot.value, new)
                    feed.whole_number += 1
                feed.beat = _event(
                    "beat",
                    {"now": self._clock.now(), "at": shot.at, "away": shot.away and AWAY.format(shot.away)},
                )
            turn, feed.turn = feed.turn, asyncio.Event()
            assert turn is not None
            turn.set()
            changed = await self._changes.wait(version, LONGEST_SILENCE if settled else FRESH / 1_000_000)
            # An answer that is shared may be a quarter of a second older than the change: look twice after one.
            settled = changed == version
            # At most four updates a second, however much happens.
            await asyncio.sleep(max(FRESH - (self._clock.monotonic() - began), 0) / 1_000_000)


def digest_of(content: bytes) -> str:
    """What tells one content of a page from another."""
    return blake2b(content, digest_size=8).hexdigest()


def _event(name: str, value: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(value))


def _whole(content: bytes, digest: str) -> bytes:
    lines = content.replace(b"\r", b"").split(b"\n")
    return (
        b"id: %s\nevent: page\n" % digest.encode() + b"".join(b"data: %s\n" % line for line in lines) + b"\n"
    )
