"""Every page: opens, says what it should, fits, is quiet, and shows stored text as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from flux.domain.job import JobState
from tests.browser.site import LiveSite
from tests.browser.waiting import drawn, streams

PAGES = ["/", "/jobs", "/queues", "/workers", "/schedules", "/?window=24h", "/?window=7d", "/jobs?state=dead"]
XSS = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module", autouse=True)
def full(site: LiveSite) -> str:
    """Something of everything; the id of a job that has failed."""
    site.ended("echo", payload={"hello": "world"}, tags=["a tag", "b"])
    site.put("echo", delay="1h")
    site.put("nobody.knows", queue="email")
    site.schedule("nightly", cron="30 2 * * *", timezone="Europe/Berlin", type="echo")
    return site.ended("fails", payload={"message": XSS, "times": 9, XSS: XSS}, max_retries=0, tags=[XSS]).id


def test_every_page_opens_and_is_quiet(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page(site.url + "/")
    for path in PAGES:
        page.goto(site.url + path)
        expect(page.locator("h1")).not_to_be_empty()
        expect(page.locator("#live")).to_contain_text("ago")
        drawn(page)
        streams(page)


def test_a_narrow_screen_needs_no_sideways_scrolling(site: LiveSite, open_page: OpenPage, full: str) -> None:
    page = open_page(site.url + "/", width=360)
    for path in [*PAGES, f"/jobs/{full}"]:
        page.goto(site.url + path)
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_commands_for_a_terminal_stay_in_their_column(site: LiveSite, open_page: OpenPage, full: str) -> None:
    page = open_page(f"{site.url}/jobs/{full}", width=1280)
    page.locator("#commands > summary").click()
    expect(page.locator("#commands pre").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    box = page.locator("#commands").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 1280
    assert box["width"] <= 21 * 16


def test_stored_text_stays_text(site: LiveSite, open_page: OpenPage, full: str) -> None:
    page = open_page(f"{site.url}/jobs/{full}")
    expect(page.locator("#story")).to_contain_text(XSS[:40])
    expect(page.locator("#payload")).to_contain_text("<script>")
    streams(page)
    for path in ("/", "/jobs", "/jobs?q=" + "tag:%22%3Cscript%3E%22", f"/jobs/{full}"):
        page.goto(site.url + path)
        streams(page)
        assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        assert page.title() != "owned"


def test_a_job_page_tells_the_whole_story(site: LiveSite, open_page: OpenPage, full: str) -> None:
    page = open_page(f"{site.url}/jobs/{full}")
    expect(page.locator("h1")).to_contain_text("dead")
    expect(page.locator("#story")).to_contain_text("Died after 1 attempt")
    expect(page.locator(".attempt")).to_contain_text("failed")
    expect(page.locator(".trace")).to_contain_text("ValueError")
    expect(page.locator("#logs")).to_contain_text("about to fail")
    expect(page.locator(".timebar")).to_contain_text("attempt 1 failed")


def test_a_waiting_job_says_why(site: LiveSite, open_page: OpenPage) -> None:
    job = site.put("nobody.knows", queue="email")
    page = open_page(f"{site.url}/jobs/{job.id}")
    expect(page.locator("#story")).to_contain_text("nobody.knows")
    later = site.put("echo", delay="2h")
    page.goto(f"{site.url}/jobs/{later.id}")
    expect(page.locator("#story")).to_contain_text("start time")


def test_the_overview_names_what_is_wrong(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page(site.url + "/")
    expect(page.locator("#verdict")).to_contain_text("nobody.knows")
    expect(page.locator("#light-flow")).to_contain_text("no live worker knows that type")
    page.goto(site.url + "/workers")
    expect(page.locator(".alarm")).to_contain_text("nobody.knows")


def test_workers_say_what_they_run(site: LiveSite, open_page: OpenPage) -> None:
    job = site.put("slow")
    site.until(job.id, JobState.RUNNING)
    page = open_page(site.url + "/workers")
    expect(page.locator(f".runs a[href$='/jobs/{job.id}']")).to_have_text("slow")
    others = [site.put("slow") for _ in range(3)]
    for other in others:
        site.until(other.id, JobState.RUNNING)
    page.reload()
    expect(page.locator(".runs .run")).to_have_count(3)
    page.locator(".runs").get_by_text("and 1 more").click()
    expect(page.locator("tr[data-row]")).to_have_count(4)
    for one in (job, *others):
        site.do(site.engine.jobs.cancel(one.id))


def test_ids_and_bad_addresses_are_answered_in_words(site: LiveSite, open_page: OpenPage, full: str) -> None:
    page = open_page(f"{site.url}/jobs?q={full}")
    assert page.url == f"{site.url}/jobs/{full}"
    page.goto(site.url + "/jobs/00000000-0000-7000-8000-000000000000")
    expect(page.locator("main")).to_contain_text("there is no job")
    page.goto(site.url + "/nowhere")
    expect(page.locator("main")).to_contain_text("no such page")
    page.goto(site.url + "/jobs?q=flavour:sweet+state:melted")
    expect(page.locator(".terms")).to_contain_text("flavour")
    expect(page.locator(".terms")).to_contain_text("melted")
    page.goto(site.url + "/jobs?cursor=nonsense")
    expect(page.locator("h1")).to_contain_text("cannot be shown")


def test_a_live_page_follows_without_reload(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page(site.url + "/jobs?q=type:slow")
    page.evaluate("window.sameDocument = true")
    job = site.put("slow")
    row = page.locator(f"#j-{job.id}")
    expect(row).to_contain_text("running")
    assert page.evaluate("window.sameDocument")
    page.goto(f"{site.url}/jobs/{job.id}")
    expect(page.locator("#progress")).to_contain_text("counting")
    expect(page.locator("#logs li").nth(3)).to_contain_text("step 3")
    site.do(site.engine.jobs.cancel(job.id, "enough"))
    expect(page.locator("h1")).to_contain_text("cancelled")
    expect(page.locator("#story")).to_contain_text("enough")
    assert site.until(job.id, JobState.CANCELLED).finished_at is not None


def test_a_long_list_is_paged_by_cursor_and_back(site: LiveSite, open_page: OpenPage) -> None:
    for n in range(60):
        site.put("echo", delay="5h", payload={"n": n}, tags=["long"])
    page = open_page(site.url + "/jobs?q=tag:long")
    expect(page.locator("tr[data-row]")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.locator("tr[data-row]")).to_have_count(10)
    page.get_by_role("link", name="Newest").click()
    expect(page.locator("tr[data-row]")).to_have_count(50)
    page.go_back()
    expect(page.locator("tr[data-row]")).to_have_count(10)
