"""When a page can be talked to: not when its address is there, but when its script has run."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect


def arrived(page: Page, url: str) -> None:
    """Wait until the page at ``url`` has come and listens.

    ``expect(page).to_have_url`` holds from the moment that the navigation commits: on a slow machine that is long
    before the page's deferred script attaches its listeners, and a key pressed in between is lost. The load event
    comes after every deferred script, whichever page it is.
    """
    page.wait_for_url(lambda now: now == url, wait_until="load")


def streams(page: Page) -> None:
    """Wait until a heartbeat of the page's stream has come: what the stream had to show then is shown."""
    expect(page.locator("#live")).to_have_class(re.compile(r"\bfresh\b"))


def drawn(page: Page) -> None:
    """Wait until every chart of the page is drawn."""
    expect(page.locator(".chart:not(:has(canvas))")).to_have_count(0)


def unhurried(page: Page) -> None:
    """Load the page anew, and all that follow, with a script's clock that stands still.

    The second key of a jump (g, then j) counts within 1.2 s of the first; a busy machine may take longer to press it.
    """
    page.add_init_script("performance.now = () => 0")
    page.reload()
