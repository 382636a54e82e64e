"""What can be done from the pages, with the mouse, with keys, and without any script."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from flux.domain.job import JobState
from flux.engine.jobs import ChangeRequest
from tests.browser.site import LiveSite
from tests.browser.waiting import arrived, unhurried

OpenPage = Callable[..., Page]


def dead(site: LiveSite, **more: object) -> str:
    """A job that has died and would succeed when retried."""
    return site.ended("fails", payload={"times": 1}, max_retries=0, **more).id


def test_retry_a_dead_job(site: LiveSite, open_page: OpenPage) -> None:
    job_id = dead(site)
    page = open_page(f"{site.url}/jobs/{job_id}")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#flash")).to_contain_text("will run again")
    site.until(job_id, JobState.SUCCEEDED)
    expect(page.locator("h1")).to_contain_text("succeeded")
    expect(page.locator("#result")).to_contain_text('"attempt": 2')
    expect(page.locator(".attempt")).to_have_count(2)


def test_cancel_with_a_reason(site: LiveSite, open_page: OpenPage) -> None:
    job = site.put("echo", delay="1h")
    page = open_page(f"{site.url}/jobs/{job.id}")
    page.locator("#cancel summary").click()
    page.get_by_label("Reason").fill("not wanted <b>any more</b>")
    # What the stream brings must not wipe what is being typed.
    site.do(site.engine.jobs.change(job.id, ChangeRequest(priority=9)))
    expect(page.locator(".facts")).to_contain_text("9 of 10")
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.locator("#story")).to_contain_text("not wanted <b>any more</b>")
    assert site.get(job.id).state is JobState.CANCELLED


def test_rerun_as_a_copy_with_another_payload(site: LiveSite, open_page: OpenPage) -> None:
    job = site.ended("echo", payload={"n": 1})
    page = open_page(f"{site.url}/jobs/{job.id}")
    page.locator("#rerun summary").click()
    page.get_by_label("Payload of the copy").fill("{not json")
    page.get_by_role("button", name="Enqueue the copy").click()
    expect(page.locator("#flash")).to_contain_text("not JSON")
    page.get_by_label("Payload of the copy").fill('{"n": 2}')
    page.get_by_role("button", name="Enqueue the copy").click()
    expect(page.locator("#flash")).to_contain_text("A copy of echo was enqueued")
    copy = site.until(page.url.rpartition("/")[2], JobState.SUCCEEDED)
    assert copy.options.copied_from == job.id
    assert json.loads(copy.payload or b"") == {"n": 2}
    # Its end moves what stands below, and a click at that moment would meet something else.
    expect(page.locator('main a[href*="worker"]').first).to_be_visible()
    page.get_by_role("link", name=f"…{job.id[-8:]}").click()
    expect(page).to_have_url(f"{site.url}/jobs/{job.id}")


def test_pause_and_resume_a_queue(site: LiveSite, open_page: OpenPage) -> None:
    site.ended("echo", queue="a/b:c")
    page = open_page(site.url + "/queues")
    page.get_by_role("button", name="Pause a/b:c").click()
    expect(page.locator("#flash")).to_contain_text("is paused")
    waiting = site.put("echo", queue="a/b:c")
    expect(page.get_by_role("button", name="Resume a/b:c")).to_be_visible()
    assert site.get(waiting.id).state is JobState.AVAILABLE
    page.get_by_role("button", name="Resume a/b:c").click()
    site.until(waiting.id, JobState.SUCCEEDED)


def test_trigger_pause_and_resume_a_schedule(site: LiveSite, open_page: OpenPage) -> None:
    site.schedule("yearly", cron="0 0 1 1 *", type="echo", payload={"from": "yearly"})
    page = open_page(site.url + "/schedules")
    page.get_by_role("button", name="Trigger yearly").click()
    expect(page.locator("#flash")).to_contain_text("was triggered")
    page.get_by_role("link", name="yearly", exact=True).click()
    expect(page.locator("tr[data-row]", has_text="succeeded")).to_have_count(1)
    page.go_back()
    page.get_by_role("button", name="Pause yearly").click()
    expect(page.locator("#s-yearly")).to_contain_text("paused")
    page.get_by_role("button", name="Resume yearly").click()
    expect(page.locator("#s-yearly .tag", has_text="paused")).to_have_count(0)


def test_bulk_retry_of_what_is_ticked_and_of_all_that_match(site: LiveSite, open_page: OpenPage) -> None:
    ids = [dead(site, tags=["bulk"]) for _ in range(4)]
    page = open_page(site.url + "/jobs?state=dead&q=tag:bulk")
    expect(page.locator("tr[data-row]")).to_have_count(4)
    page.locator(f'input[value="{ids[0]}"]').check()
    expect(page.locator("#selected")).to_have_text("1 selected")
    page.locator("#bulk-retry").click()
    expect(page.locator("#flash")).to_contain_text("1 job will run again")
    site.until(ids[0], JobState.SUCCEEDED)
    page.mouse.move(5, 5)
    expect(page.locator("tr[data-row]")).to_have_count(3)
    page.locator("#bulk-all summary").click()
    page.get_by_role("button", name="Retry every dead one").click()
    expect(page.locator("#flash")).to_contain_text("3 jobs will run again")
    for job_id in ids[1:]:
        site.until(job_id, JobState.SUCCEEDED)
    expect(page.locator("main")).to_contain_text("No job matches")


@pytest.mark.parametrize("script", [True, False])
def test_cancel_of_all_that_match_asks_first(site: LiveSite, open_page: OpenPage, script: bool) -> None:
    tag = f"all{script}"
    ids = [site.put("echo", delay="1h", tags=[tag]).id for _ in range(3)]
    dead(site, tags=[tag])
    page = open_page(f"{site.url}/jobs?q=tag:{tag}", java_script_enabled=script)
    page.locator("#bulk-all summary").click()
    page.get_by_role("link", name="Cancel every one that has not ended").click()
    arrived(page, f"{site.url}/jobs/cancel?q=tag:{tag}")
    expect(page.locator("h1")).to_have_text("Cancel 3 jobs?")
    assert [site.get(job_id).state for job_id in ids] == [JobState.SCHEDULED] * 3
    page.get_by_role("button", name="Cancel 3 jobs").click()
    expect(page.locator("#flash")).to_contain_text("3 jobs cancelled")
    expect(page).to_have_url(f"{site.url}/jobs?q=tag:{tag}")
    assert [site.get(job_id).state for job_id in ids] == [JobState.CANCELLED] * 3


def test_keys_move_open_select_retry_cancel(site: LiveSite, open_page: OpenPage) -> None:
    first, second = (dead(site, tags=["keys"]) for _ in range(2))
    page = open_page(site.url + "/jobs?q=tag:keys")
    page.keyboard.press("j")
    expect(page.locator("[data-cursor]")).to_have_attribute("data-id", second)
    page.keyboard.press("j")
    expect(page.locator("[data-cursor]")).to_have_attribute("data-id", first)
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    arrived(page, f"{site.url}/jobs/{first}")
    page.go_back()
    expect(page.locator("[data-cursor]")).to_have_attribute("data-id", first)
    page.keyboard.press("x")
    expect(page.locator("#selected")).to_have_text("1 selected")
    page.keyboard.press("r")
    expect(page.locator("#flash")).to_contain_text("1 job will run again")
    site.until(first, JobState.SUCCEEDED)

    waiting = site.put("echo", delay="1h", tags=["keys"])
    page.goto(f"{site.url}/jobs/{waiting.id}")
    page.keyboard.press("c")
    page.keyboard.type("by key")
    page.keyboard.press("Enter")
    expect(page.locator("#story")).to_contain_text("by key")
    page.goto(f"{site.url}/jobs/{second}")
    page.keyboard.press("r")
    site.until(second, JobState.SUCCEEDED)


def test_keys_go_search_help_and_pause(site: LiveSite, open_page: OpenPage) -> None:
    site.ended("echo", queue="keyed")
    page = open_page(site.url + "/")
    unhurried(page)
    for letter, path in (
        ("j", "/jobs"),
        ("q", "/queues"),
        ("w", "/workers"),
        ("s", "/schedules"),
        ("o", "/"),
    ):
        page.keyboard.press("g")
        page.keyboard.press(letter)
        arrived(page, site.url + path)
    page.keyboard.press("/")
    arrived(page, site.url + "/jobs#q")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("queue:keyed")
    page.keyboard.press("Enter")
    arrived(page, site.url + "/jobs?q=queue%3Akeyed")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    page.goto(site.url + "/queues")
    names = page.locator("tr[data-row]").evaluate_all("rows => rows.map((row) => row.id)")
    for _ in range(names.index("q-keyed") + 1):
        page.keyboard.press("j")
    page.keyboard.press("p")
    expect(page.locator("#q-keyed")).to_contain_text("paused")
    page.keyboard.press("p")
    expect(page.locator("#q-keyed .tag")).to_have_count(0)


def test_back_always_works(site: LiveSite, open_page: OpenPage) -> None:
    job = site.ended("echo", tags=["back"])
    page = open_page(site.url + "/")
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.locator(".chip", has_text="succeeded").click()
    expect(page).to_have_url(site.url + "/jobs?state=succeeded")
    expect(page.locator(".chip.on")).to_have_count(1)
    page.locator("#q").fill("tag:back")
    page.get_by_role("button", name="Search").click()
    where = site.url + "/jobs?state=succeeded&q=tag%3Aback"
    arrived(page, where)
    page.locator(f"#j-{job.id} a").first.click()
    arrived(page, f"{site.url}/jobs/{job.id}")
    page.go_back()
    expect(page).to_have_url(where)
    expect(page.locator("#q")).to_have_value("tag:back")
    page.go_back()
    expect(page).to_have_url(site.url + "/jobs?state=succeeded")
    expect(page.locator("#q")).to_have_value("")
    page.go_back()
    page.go_back()
    expect(page).to_have_url(site.url + "/")


def test_freeze_holds_the_page_and_lets_it_go(site: LiveSite, open_page: OpenPage) -> None:
    page = open_page(site.url + "/jobs?q=tag:frost")
    page.keyboard.press("f")
    expect(page.locator("#live")).to_contain_text("frozen")
    another = open_page(site.url + "/jobs?q=tag:frost")
    job = site.ended("echo", tags=["frost"])
    expect(another.locator(f"#j-{job.id}")).to_be_visible()
    expect(page.locator(f"#j-{job.id}")).to_have_count(0)
    page.keyboard.press("f")
    expect(page.locator(f"#j-{job.id}")).to_be_visible()


def test_rows_hold_still_under_the_pointer(site: LiveSite, open_page: OpenPage) -> None:
    old = site.ended("echo", tags=["still"])
    page = open_page(site.url + "/jobs?q=tag:still")
    page.locator(f"#j-{old.id}").hover()
    new = site.ended("echo", tags=["still"])
    expect(page.locator("#held")).to_have_text("1 new")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.mouse.move(5, 5)
    expect(page.locator("tr[data-row]")).to_have_count(2)
    expect(page.locator("tr[data-row]").first).to_have_attribute("id", f"j-{new.id}")


def test_everything_can_be_done_without_script(site: LiveSite, open_page: OpenPage) -> None:
    job_id = dead(site, tags=["plain"])
    page = open_page(f"{site.url}/jobs/{job_id}", java_script_enabled=False)
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#flash")).to_contain_text("will run again")
    assert page.url == f"{site.url}/jobs/{job_id}"
    page.reload()
    expect(page.locator("#flash")).to_be_empty()
    site.until(job_id, JobState.SUCCEEDED)
    another = site.put("echo", delay="1h", tags=["plain"])
    page.goto(site.url + "/jobs?q=tag:plain")
    page.locator(f'input[value="{another.id}"]').check()
    page.locator("#bulk-cancel summary").click()
    page.get_by_role("button", name="Cancel the selected jobs").click()
    expect(page.locator("#flash")).to_contain_text("1 job cancelled")


def test_a_form_of_another_site_is_refused(site: LiveSite, open_page: OpenPage) -> None:
    site.ended("echo", queue="mine")
    page = open_page(site.url + "/queues")
    token = page.locator('meta[name="csrf"]').get_attribute("content")
    for headers, fields in (
        ({"origin": "https://elsewhere.example"}, {"csrf": token}),
        ({}, {"csrf": "0" * 32}),
        ({}, {}),
    ):
        answer = page.request.post(
            site.url + "/queues/mine/pause",
            form={key: value for key, value in fields.items() if value},
            headers={**headers, "x-flux-script": "1"},
        )
        assert answer.status == 403
        assert "nothing was done" in answer.json()["text"]
    assert not site.do(site.engine.queues.get("mine")).settings.paused


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_switch_changes_the_theme_and_it_stays(site: LiveSite, open_page: OpenPage, scheme: str) -> None:
    page = open_page(site.url + "/", color_scheme=scheme)
    before = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    after = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    assert before != after
    page.reload()
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == after
