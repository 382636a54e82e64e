"""Where the dashboard may stand: under a prefix, mounted in another application; and a store that goes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from flux.domain.job import JobState
from tests.browser.site import LiveSite
from tests.browser.waiting import arrived, unhurried

OpenPage = Callable[..., Page]


@pytest.mark.parametrize("mount", [False, True], ids=["prefix", "mount"])
def test_it_works_under_a_path(tmp_path: Path, open_page: OpenPage, mount: bool) -> None:
    with LiveSite(tmp_path, prefix="/ops/flux", mount=mount) as site:
        job = site.ended("fails", payload={"times": 1}, max_retries=0)
        page = open_page(site.url + "/")
        for label, path in (
            ("Jobs", "/jobs"),
            ("Queues", "/queues"),
            ("Workers", "/workers"),
            ("Schedules", "/schedules"),
        ):
            page.get_by_role("link", name=label, exact=True).click()
            arrived(page, site.url + path)
        unhurried(page)
        page.keyboard.press("g")
        page.keyboard.press("j")
        arrived(page, site.url + "/jobs")
        page.locator(f"#j-{job.id} a").first.click()
        arrived(page, f"{site.url}/jobs/{job.id}")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("#flash")).to_contain_text("will run again")
        site.until(job.id, JobState.SUCCEEDED)
        expect(page.locator("h1")).to_contain_text("succeeded")
        assert all(cookie["path"] == "/ops/flux" for cookie in page.context.cookies())


def test_an_empty_site_says_how_to_fill_it(tmp_path: Path, open_page: OpenPage) -> None:
    with LiveSite(tmp_path) as site:
        page = open_page(site.url + "/")
        for path in ("/", "/jobs", "/queues", "/schedules"):
            page.goto(site.url + path)
            lines = page.locator(".empty pre").inner_text().strip().splitlines()
            assert len(lines) == 3, path
            assert lines[0].startswith("curl")


def test_a_store_that_is_away_greys_what_it_said_last(tmp_path: Path, open_page: OpenPage) -> None:
    with LiveSite(tmp_path) as site:
        job = site.ended("echo")
        page = open_page(site.url + "/jobs")
        expect(page.locator(f"#j-{job.id}")).to_be_visible()
        hidden = site.file.with_suffix(".gone")
        site.file.rename(hidden)
        expect(page.locator("#away")).to_contain_text("The store is away")
        expect(page.locator(f"#j-{job.id}")).to_be_visible()
        page.reload()
        expect(page.locator("#away")).to_contain_text("missing")
        expect(page.locator(f"#j-{job.id}")).to_be_visible()
        page.goto(site.url + "/jobs?q=type:other")
        expect(page.locator("main")).to_contain_text("The store is away")
        hidden.rename(site.file)
        page.goto(site.url + "/jobs")
        expect(page.locator("#away")).to_be_hidden()
