"""A hundred viewers cost one query; the last answer outlives the store; streams are coalesced and end."""

import asyncio
import contextlib
import time

import pytest

from flux.dashboard.feeds import Feeds
from flux.dashboard.shared import FRESH, Shared, Shot
from flux.domain.errors import Unavailable
from flux.engine.clock import SystemClock


class Turning:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 1_000_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> int:
        return self.at


class Changing:
    """Changes that a test announces."""

    def __init__(self) -> None:
        self.seen = 0
        self.event = asyncio.Event()

    def version(self) -> int:
        return self.seen

    def change(self) -> None:
        self.seen += 1
        self.event.set()
        self.event = asyncio.Event()

    async def wait(self, seen: int, timeout: float) -> int:
        if seen == self.seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.event.wait(), timeout)
        return self.seen


async def test_many_askers_share_one_query() -> None:
    clock, asked = Turning(), 0

    async def load() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return asked

    shared = Shared(clock)
    assert {shot.value for shot in await asyncio.gather(*(shared.get("k", load) for _ in range(100)))} == {1}
    clock.at += FRESH - 1
    assert (await shared.get("k", load)).value == 1
    clock.at += 1
    assert (await shared.get("k", load)).value == 2
    shared.forget()
    assert (await shared.get("k", load)).value == 3
    assert asked == 3


async def test_who_asks_first_may_leave() -> None:
    going = asyncio.Event()

    async def load() -> str:
        await going.wait()
        return "answer"

    shared = Shared(Turning())
    first = asyncio.create_task(shared.get("k", load))
    second = asyncio.create_task(shared.get("k", load))
    await asyncio.sleep(0)
    first.cancel()
    going.set()
    assert (await second).value == "answer"
    await shared.close()


async def test_the_last_answer_stays_when_the_store_goes() -> None:
    clock, away = Turning(), False

    async def load() -> str:
        if away:
            raise Unavailable("gone")
        return "answer"

    shared = Shared(clock)
    at = (await shared.get("k", load)).at
    away = True
    clock.at += 10 * FRESH
    assert await shared.get("k", load) == Shot("answer", at, "gone")
    with pytest.raises(Unavailable):
        await shared.get("other", load)


async def test_viewers_of_a_page_share_its_feed_and_get_at_most_four_updates_a_second() -> None:
    changes, looks = Changing(), 0
    feeds = Feeds(changes, SystemClock())

    async def look() -> Shot[bytes]:
        nonlocal looks
        looks += 1
        return Shot(b"<p>%d</p>\n<p>line</p>" % looks, 0)

    async def view() -> list[bytes]:
        got = []
        async for event in feeds.watch("page", look, ""):
            got.append(event)
        return got

    began = time.monotonic()
    viewers = [asyncio.create_task(view()) for _ in range(20)]
    for _ in range(100):
        await asyncio.sleep(0.01)
        changes.change()
    await feeds.close()
    streams = await asyncio.gather(*viewers)
    pages = [[event for event in stream if b"event: page" in event] for stream in streams]
    # A machine that is slow with the hundred changes has more quarters of a second in it.
    most = 4 * (time.monotonic() - began) + 2
    assert looks <= most
    assert all(2 <= len(got) <= looks for got in pages)
    assert b"data: <p>line</p>\n" in pages[0][0]


async def test_a_viewer_that_has_seen_a_page_is_not_sent_it_again() -> None:
    feeds = Feeds(Changing(), SystemClock())

    async def look() -> Shot[bytes]:
        return Shot(b"same", 0)

    first = feeds.watch("page", look, "")
    whole = await anext(first)
    digest = whole.split(b"\n")[0].removeprefix(b"id: ").decode()
    await first.aclose()
    second = feeds.watch("page", look, digest)
    assert b"event: beat" in await anext(second)
    await second.aclose()
