"""The API's documentation page: read, search, try, follow; nothing from elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from flux.api.app import create_app
from flux.api.server import ApiServer
from flux.config import Settings, build_engine


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A running API, in a thread with a loop of its own."""
    ready, stop = threading.Event(), threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        engine = build_engine(Settings(database_url=f"sqlite:///{tmp_path}/flux.db"))
        await engine.open()
        async with ApiServer(create_app(engine), "127.0.0.1", 0) as server:
            port = server.port
            ready.set()
            await asyncio.to_thread(stop.wait)
        await engine.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{port}"
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_the_page_is_read_searched_and_tried(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(f"{address}/docs")
    page.locator("#enqueueJob > summary").click()
    page.locator("#enqueueJob button[type=submit]").click()
    expect(page.locator("#enqueueJob form pre")).to_contain_text("201 Created")
    page.get_by_label("Find").fill("pause queue")
    expect(page.locator("details[data-words]:visible")).to_have_count(1)
    page.locator("#pauseQueue > summary").click()
    page.locator("#pauseQueue").get_by_label("queue").fill("mail/out")
    page.locator("#pauseQueue button[type=submit]").click()
    expect(page.locator("#pauseQueue form pre")).to_contain_text('"paused": true')
    page.get_by_label("Find").fill("")
    page.locator("#listJobs > summary").click()
    page.locator("#listJobs").get_by_label("payload.*").fill("payload.to=user@example.com")
    page.locator("#listJobs button[type=submit]").click()
    expect(page.locator("#listJobs form pre")).to_contain_text('"type": "email"')


def test_a_stream_is_followed_and_stopped(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(f"{address}/docs#followEvents")
    page.locator("#followEvents button[type=submit]").click()
    output = page.locator("#followEvents form pre")
    expect(output).to_contain_text("connected")
    page.evaluate("fetch('/api/v1/queues/q/pause', {method: 'POST'}).then(() => undefined)")
    expect(output).to_contain_text('"state":"paused"')
    page.get_by_role("button", name="Stop").click()
    expect(output).to_contain_text("Stopped.")


def test_a_narrow_window_has_no_sideways_scroll(open_page: Callable[..., Page], address: str) -> None:
    page = open_page(f"{address}/docs", width=360)
    page.locator("#enqueueJob > summary").click()
    expect(page.locator("#enqueueJob form")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
