"""What commands say to people: why a job waits, times with their zone, one of a thing in the singular."""

from __future__ import annotations

import re

from tests.integration.cli.conftest import Flux


def test_the_list_says_why_each_job_waits(flux: Flux) -> None:
    flux("job", "enqueue", "echo", "--quiet")
    flux("job", "enqueue", "echo", "--delay", "1h", "--quiet")
    flux("job", "enqueue", "echo", "--queue", "mail", "--quiet")
    flux("queue", "pause", "mail")
    header, mail, later, now = flux("job", "list").out.splitlines()
    assert header.split()[-1] == "WHY"
    assert "Queue mail is paused by" in mail
    assert "Waits for its start time, in " in later
    assert "No worker is alive" in now


def test_times_say_their_zone(flux: Flux) -> None:
    id = flux("job", "enqueue", "echo", "--run-at", "2031-05-06T07:08:09+02:00", "--quiet").out.strip()
    assert re.search(r"^run at +2031-05-06T05:08:09Z$", flux("job", "show", id).out, re.MULTILINE)
    flux("schedule", "create", "nightly", "echo", "--cron", "0 3 * * *", "--timezone", "Asia/Tokyo")
    assert re.search(
        r"^next +\d{4}-\d\d-\d\dT18:00:00Z$", flux("schedule", "show", "nightly").out, re.MULTILINE
    )


def test_one_of_a_thing_is_one(flux: Flux) -> None:
    assert flux("queue", "set", "mail", "--max-depth", "1").out.endswith("at most 1 waiting job\n")
    assert flux("queue", "set", "mail", "--max-depth", "2000").out.endswith("at most 2,000 waiting jobs\n")
    flux("job", "enqueue", "echo", "--quiet")
    assert flux("job", "cancel", "--type", "echo", "--yes").out == "1 job cancelled\n"


def test_a_schedule_that_a_job_made_has_a_name_to_type(flux: Flux) -> None:
    answer = flux("job", "enqueue", "report", "--cron", "0 3 * * *", "--json")
    assert answer.code == 0
    name = flux("schedule", "list").out.splitlines()[1].split()[0]
    assert re.fullmatch(r"report\.[0-9a-f]{12}", name)
    assert flux("schedule", "show", name, "--json").json["id"] == answer.json["schedule_id"]
