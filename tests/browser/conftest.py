"""The browser, one per module, and pages that fail the test when their console says anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.site import LiveSite

PATIENCE = 30_000
"""Milliseconds for anything to come true: other tests have the machine too."""

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Per module and not per session: the synchronous API keeps an event loop running, which asynchronous tests of other
# folders in the same process could not bear.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("FLUX_TEST_BROWSER") or "/usr/bin/chromium"
    if not Path(path).exists():
        pytest.fail(
            f"there is no browser at {path}: `make browser` installs it, FLUX_TEST_BROWSER names another"
        )
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with LiveSite(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A page whose errors, console and refused requests are the test's failure."""
    said: list[str] = []
    contexts = []

    def make(url: str, *, width: int = 1280, height: int = 800, **more: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("console", lambda message: said.append(f"console {message.type}: {message.text}"))
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    # A browser logs the status of what our script fetched; those are answers that a test asked for.
    wrong = [line for line in said if "Failed to load resource: the server responded" not in line]
    assert not wrong, wrong
