"""What happens in the store, read once for all event streams of a process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec

from flux.api import sse
from flux.api.http import encode
from flux.domain.duration import format_instant
from flux.domain.errors import FluxError, Invalid
from flux.engine.ports import Event, Store

logger = logging.getLogger("flux.api")

PAGE = 500
MOST_BEHIND = 20_000
"""Events that may wait for one client; one that is further behind is sent away, to come back with Last-Event-ID."""
LONGEST_SLEEP = 1.0
SHORTEST_SLEEP = 0.02
FIRST = "0.0"
"""Before every event's id."""


class EventOut(msgspec.Struct, frozen=True):
    """One change: ``key`` is the job's id, or the name of the queue, worker or schedule; ``state`` what it came to."""

    id: str
    at: str
    subject: str
    key: str
    state: str
    type: str | None
    queue: str | None
    job_id: str | None


class EventFilter(msgspec.Struct, frozen=True):
    """What a client wants to hear of; empty: everything."""

    subjects: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()
    queue: str | None = None
    type: str | None = None
    job_id: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether an event passes."""
        return (
            (not self.subjects or event.subject in self.subjects)
            and (not self.states or event.state in self.states)
            and (self.queue is None or event.queue == self.queue or _is(event, "queue", self.queue))
            and (self.type is None or event.type == self.type)
            and (self.job_id is None or _is(event, "job", self.job_id))
        )


class _Listener:
    """One client's waiting events, and whether it fell too far behind."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.arrived = asyncio.Event()
        self.lost = False
        self.ended = False

    def push(self, events: list[Event]) -> None:
        if len(self.events) + len(events) > MOST_BEHIND:
            self.lost = True
            self.events.clear()
        else:
            self.events.extend(events)
        self.arrived.set()

    def end(self) -> None:
        self.ended = True
        self.arrived.set()


class Feed:
    """One reader task while anybody listens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[_Listener] = set()
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    async def stream(self, wanted: EventFilter, after: str | None) -> AsyncIterator[bytes]:
        """Events as SSE from ``after`` (an event's id; None: from now on), until the feed closes."""
        newest = await self._newest()
        position = newest if after is None else after
        listener = _Listener()
        self._listeners.add(listener)
        try:
            if self._reader is None or self._reader.done():
                # It begins where the store stood before this client listened, so that nothing falls between.
                self._reader = asyncio.create_task(self._read(newest))
            # Said only now: whoever has heard that they are connected hears of all that happens from then on.
            yield sse.HELLO
            while True:
                # What came before this client did, page by page; the feed's own events wait meanwhile.
                page = await self._store.queries.events(position or FIRST, PAGE)
                for chunk in _written(page, wanted):
                    yield chunk
                if page:
                    position = page[-1].id
                if len(page) < PAGE:
                    break
            async for chunk in self._live(listener, wanted, position):
                yield chunk
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    async def close(self) -> None:
        """End all streams and the reader."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])

    async def _live(
        self, listener: _Listener, wanted: EventFilter, position: str | None
    ) -> AsyncIterator[bytes]:
        seen = event_order(position) if position else (0, 0)
        while not (listener.ended or self._closed):
            try:
                async with asyncio.timeout(sse.HEARTBEAT):
                    await listener.arrived.wait()
            except TimeoutError:
                yield sse.BEAT
                continue
            listener.arrived.clear()
            if listener.lost:
                yield sse.comment("you read too slowly; come back with Last-Event-ID")
                return
            events, listener.events = listener.events, []
            fresh = [event for event in events if event_order(event.id) > seen]
            for chunk in _written(fresh, wanted):
                yield chunk

    async def _newest(self) -> str | None:
        page = await self._store.queries.events(None, 1)
        return page[-1].id if page else None

    async def _read(self, position: str | None) -> None:
        try:
            await self._follow(position)
        except Exception:
            logger.exception("the reader of events broke; its clients will come back")
            for listener in self._listeners:
                listener.end()

    async def _follow(self, position: str | None) -> None:
        changes = self._store.changes
        while True:
            seen = changes.version()
            try:
                page = await self._store.queries.events(position or FIRST, PAGE)
            except FluxError as error:
                logger.warning("events cannot be read now: %s", error)
                await asyncio.sleep(LONGEST_SLEEP)
                continue
            if page:
                position = page[-1].id
                for listener in self._listeners:
                    listener.push(page)
            if len(page) < PAGE:
                await changes.wait(seen, LONGEST_SLEEP)
                # A busy store changes all the time; what comes together is read together.
                await asyncio.sleep(SHORTEST_SLEEP)


def event_order(id: str) -> tuple[int, int]:
    """The place of an event among all. Raises ``Invalid`` for what is no event's id."""
    batch, dot, index = id.partition(".")
    if not (
        dot
        and len(batch) <= 18
        and len(index) <= 18
        and id.isascii()
        and batch.isdecimal()
        and index.isdecimal()
    ):
        raise Invalid.one("Last-Event-ID", f"{id[:50]!r} is not the id of an event")
    return int(batch), int(index)


def _is(event: Event, subject: str, key: str) -> bool:
    return event.subject == subject and event.key == key


def _written(events: list[Event], wanted: EventFilter) -> list[bytes]:
    items = [_as_sse(event) for event in events if wanted.wants(event)]
    return list(sse.pages(items))


def _as_sse(event: Event) -> bytes:
    out = EventOut(
        id=event.id,
        at=format_instant(event.at),
        subject=event.subject,
        key=event.key,
        state=event.state,
        type=event.type,
        queue=event.queue,
        job_id=event.key if event.subject == "job" else None,
    )
    return sse.event(encode(out), name=event.subject, id=event.id)
