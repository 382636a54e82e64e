"""`flux queue`, `schedule`, `migrate`, `doctor` and `bench` against a real file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.cli.conftest import Flux, Start, eventually


def test_a_queue_is_paused_resumed_and_bounded(flux: Flux) -> None:
    paused = flux("queue", "pause", "mail", "--json").json
    assert paused["paused"] is True
    assert paused["paused_by"]
    assert flux("queue", "set", "mail", "--max-depth", "5").out == "mail  paused, at most 5 waiting jobs\n"
    assert "paused" in flux("queue", "list").out
    assert flux("queue", "resume", "mail").code == 0
    shown = flux("queue", "show", "mail", "--json").json
    assert (shown["paused"], shown["max_depth"]) == (False, 5)
    assert flux("queue", "set", "mail", "--max-depth", "none", "--json").json["max_depth"] is None
    assert flux("queue", "set", "mail").code == 2
    assert flux("queue", "set", "mail", "--max-depth", "few").code == 2
    assert flux("queue", "pause", "not a name").code == 2


def test_a_schedule_lives_and_dies(flux: Flux) -> None:
    made: Any = flux("schedule", "create", "nightly", "echo", "x=1", "--cron", "0 3 * * *", "--json").json
    assert (made["name"], made["type"], made["payload"]) == ("nightly", "echo", {"x": 1})
    assert len(made["next_fire_times"]) == 5
    assert flux("schedule", "create", "nightly", "echo", "--every", "5m").code == 1
    assert "nightly" in flux("schedule", "list").out
    assert flux("schedule", "pause", "nightly", "--note", "holidays", "--json").json["note"] == "holidays"
    assert flux("schedule", "resume", "nightly").code == 0
    triggered = flux("schedule", "trigger", "nightly", "--json").json
    job = flux("job", "show", str(triggered["id"]), "--json").json
    assert job["schedule_id"] == made["id"]
    assert flux("schedule", "delete", "nightly").code == 2
    assert flux("schedule", "delete", "nightly", "--yes", "--json").json == {"deleted": "nightly"}
    assert flux("schedule", "show", "nightly").code == 1
    wrong = flux("schedule", "create", "bad", "echo", "--cron", "every day")
    assert wrong.code == 2
    assert "cron" in wrong.err


def test_workers_are_listed_with_what_they_run(flux: Flux, start: Start) -> None:
    flux("migrate", "up")
    start("worker", "--concurrency", "2").wait_for("takes jobs")
    assert "RUNNING JOB" not in flux("worker", "list").out
    ids = [flux("job", "enqueue", "sleep", "seconds=600", "--quiet").out.strip() for _ in range(3)]

    def worker() -> Any:
        [one] = flux("worker", "list", "--json").json["workers"]  # type: ignore[misc]
        return one

    eventually(lambda: worker()["busy"] == 2)
    assert {job["id"] for job in worker()["running"]} < set(ids)
    told = flux("worker", "list").out
    _, _, below = told.partition("RUNNING JOB")
    assert {id for id in ids if id in below} == {job["id"] for job in worker()["running"]}
    assert below.count("  sleep  default  1  ") == 2


def test_the_schema_goes_up_and_down(flux: Flux, home: Path) -> None:
    up: Any = flux("migrate", "up", "--json").json
    assert up["migrations"]
    assert flux("migrate", "status").code == 0
    assert "nothing to do" in flux("migrate", "up").err
    assert flux("migrate", "down", "--to", "0").code == 2
    assert flux("migrate", "down", "--to", "0", "--yes").code == 0
    assert flux("migrate", "status").code == 1
    old = flux("job", "list")
    assert old.code == 1
    assert "flux migrate up" in old.err
    assert flux("migrate", "up").code == 0
    assert flux("job", "list").code == 0


def test_a_new_migration_gets_the_next_number(flux: Flux, home: Path) -> None:
    folders = [home / store / "migrations" for store in ("sqlite", "postgres")]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[0] / "0007_before.pre.up.sql").write_text("")
    made = flux("migrate", "new", "add_things", "--directory", str(home))
    assert made.code == 0
    for folder in folders:
        assert (folder / "0008_add_things.pre.up.sql").is_file()
        assert (folder / "0008_add_things.pre.down.sql").is_file()
    only = ("--store", "postgres", "--phase", "post", "--directory", str(home), "--json")
    last: Any = flux("migrate", "new", "drop_things", *only)
    assert last.json == {
        "files": [str(folders[1] / f"0009_drop_things.post.{way}.sql") for way in ("up", "down")]
    }
    assert flux("migrate", "new", "Bad Name", "--directory", str(home)).code == 2
    assert flux("migrate", "new", "fine", "--directory", str(home / "away")).code == 2


def test_doctor_says_what_is_wrong(flux: Flux, home: Path) -> None:
    sick = flux("doctor")
    assert sick.code == 1
    assert "flux dev makes it" in sick.out
    flux("migrate", "up")
    well: Any = flux("doctor", "--json")
    assert well.code == 0, well.out
    assert well.json["ok"] is True
    names = {check["name"]: check["state"] for check in well.json["checks"]}
    assert names["durability"] == "ok"
    assert names["workers"] == "note"
    flux("job", "enqueue", "t", "--queue", "mail")
    idle: Any = flux("doctor")
    assert idle.code == 1
    assert "in queue mail, and no worker is alive" in idle.out, "though no scheduler has sampled anything"
    flux("queue", "pause", "mail")
    assert flux("doctor").code == 0, "jobs of a paused queue are meant to wait"
    flux("migrate", "down", "--to", "1", "--yes")
    old = flux("doctor")
    assert old.code == 1
    assert "flux migrate up" in old.out


def test_bench_measures_and_leaves_nothing(flux: Flux, home: Path) -> None:
    figures: Any = flux("bench", "--jobs", "1000", "--samples", "10", "--json").json
    assert figures["drain"] > 0
    assert figures["enqueue_single"] > 0
    assert figures["latency_p99_ms"] >= figures["latency_p50_ms"] > 0
    assert list(home.iterdir()) == []
