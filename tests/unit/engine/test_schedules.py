"""Schedules from the request to the row: validation, the life of the pending occurrence, declared ones."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from flux.domain.duration import HOUR, MINUTE, SECOND
from flux.domain.errors import Conflict, Invalid, NotFound
from flux.domain.ids import IdSource
from flux.domain.job import Inserted, Job, JobState, NewJob
from flux.domain.request import JobRequest, validate
from flux.engine.occurrences import first_occurrence
from flux.engine.ports import PARKED
from flux.engine.schedule_request import ScheduleRequest, parse_patch, parse_schedule, validate_schedule
from flux.engine.schedules import ScheduleService
from flux.stores.migrations import known_migrations
from flux.stores.sqlite.database import Database
from flux.stores.sqlite.queues import SqliteQueues
from flux.stores.sqlite.reading import SqliteQueries
from flux.stores.sqlite.schedules import SqliteSchedules

START = 1_790_000_040 * SECOND // HOUR * HOUR


class World:
    """A store on a clock that is set by hand, and the service on it."""

    def __init__(self, path: str) -> None:
        self.now = START
        self.database = Database(path, clock=lambda: self.now)
        self.enqueued: list[NewJob] = []
        self.store: Any = SimpleNamespace(
            schedules=SqliteSchedules(self.database),
            queries=SqliteQueries(self.database),
            queues=SqliteQueues(self.database),
            now=self._now,
        )
        self.ids = IdSource(lambda: self.now, Random(1))
        enqueuer: Any = SimpleNamespace(insert=self._insert)
        self.service = ScheduleService(self.store, enqueuer, self.ids, Random(2))

    async def _now(self) -> int:
        return self.now

    async def _insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        self.enqueued += jobs
        return [Inserted(job.id, JobState.AVAILABLE, self.now, self.now) for job in jobs]

    async def job(self, job_id: str | None) -> Job:
        assert job_id is not None
        job = await self.store.queries.get(job_id)
        assert isinstance(job, Job)
        return job

    async def take_up(self, job_id: str) -> None:
        """What promotion does to the row."""
        await self.database.write(
            lambda connection: connection.execute(
                "UPDATE live SET state = 'available' WHERE id = ?", (job_id,)
            )
        )

    async def break_zone(self, name: str, zone: str = "Europe/Berlin") -> None:
        """As when the zone has left the time zone data since."""
        await self.database.write(
            lambda connection: (
                connection.execute(
                    "UPDATE schedules SET spec = replace(spec, ?, 'Europe/Gone') WHERE name = ?", (zone, name)
                ).rowcount
            )
        )

    async def live(self) -> int:
        count: int = await self.database.read(
            lambda connection: connection.execute("SELECT count(*) FROM live").fetchone()[0]
        )
        return count


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    path = str(tmp_path / "flux.db")
    connection = sqlite3.connect(path)
    for migration in known_migrations("flux.stores.sqlite"):
        connection.executescript(migration.up)
    connection.close()
    world = World(path)
    await world.database.open()
    yield world
    await world.database.close()


def hourly(name: str = "n", **fields: Any) -> ScheduleRequest:
    fields = {"type": "echo", "every": "1h"} | fields
    return ScheduleRequest(name=name, **fields)


# --- requests -----------------------------------------------------------------------------------------------------


def test_every_wrong_field_is_named() -> None:
    raw = {
        "name": "bad name", "type": "", "cron": "61 * * * *", "timezone": "Mars", "misfire": "maybe",
        "overlap": "x", "jitter": "-1s", "start_at": "soon", "end_at": "2026-01-01T00:00:00Z", "priority": 11,
        "tags": [""], "backoff": {"kind": "x"}, "note": "\0",
    }  # fmt: skip
    with pytest.raises(Invalid) as refused:
        validate_schedule(parse_schedule(json.dumps(raw).encode()))
    fields = {error.field for error in refused.value.errors}
    assert fields >= {
        "type", "cron", "misfire", "overlap", "start_at", "priority", "tags[0]", "backoff.kind", "note", "name",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], {"body"}),
        ({}, {"name", "type"}),
        ({"name": 1, "type": "t", "croon": "x"}, {"name", "croon"}),
        ({"name": "n", "job": {"type": "t", "delay": "1s"}}, {"job.delay"}),
        ({"name": "n", "type": "t", "job": {"type": "t"}}, {"type"}),
        ({"name": "n", "job": 5}, {"body"}),
    ],
)
def test_a_request_of_the_wrong_form(body: object, fields: set[str]) -> None:
    with pytest.raises(Invalid) as refused:
        parse_schedule(json.dumps(body).encode())
    assert {error.field for error in refused.value.errors} == fields


def test_exactly_one_rule() -> None:
    for more in ({"every": None}, {"cron": "* * * * *"}, {"at": "2030-01-01T00:00:00Z"}):
        with pytest.raises(Invalid) as refused:
            validate_schedule(hourly(**more))
        assert [error.field for error in refused.value.errors] == ["cron"]


def test_the_job_may_stand_beside_or_inside() -> None:
    beside = {"name": "n", "cron": "@daily", "type": "t", "payload": {"a": 1}, "tags": ["x"]}
    inside = {"name": "n", "cron": "@daily", "job": {"type": "t", "payload": {"a": 1}, "tags": ["x"]}}
    first, second = (validate_schedule(parse_schedule(json.dumps(one).encode())) for one in (beside, inside))
    assert first == second
    assert first.job == {"type": "t", "payload": {"a": 1}, "tags": ["x"]}


def test_what_is_stored_equals_what_is_asked_anew() -> None:
    request = hourly(
        payload=msgspec.Raw(b'{"x": [1, 2.5, null, "\\u00e9"]}'),
        tags=("a", "b"),
        headers={"h": "v"},
        backoff={"kind": "list", "delays": ["1s", "2s"]},
        timeout="5m",
        expires_in=30,
        start_at="2026-01-01T00:00:00Z",
    )
    spec = validate_schedule(request)
    assert msgspec.json.decode(msgspec.json.encode(spec), type=type(spec)) == spec


# --- life ---------------------------------------------------------------------------------------------------------


async def test_a_new_schedule_shows_its_next_run_as_a_job(world: World) -> None:
    view = await world.service.create(hourly(payload=msgspec.Raw(b'{"a":1}'), queue="mail"))
    assert view.upcoming == [START + HOUR * k for k in range(1, 6)]
    assert (view.rule, view.latest) == ("every 1h", [])
    assert view.request["every"] == "1h"
    job = await world.job(view.schedule.next_job_id)
    assert (job.state, job.run_at, job.payload, job.schedule_id) == (
        JobState.SCHEDULED, START + HOUR, b'{"a":1}', view.schedule.id,
    )  # fmt: skip
    assert job.options.fire_at == view.schedule.next_fire_at == START + HOUR
    assert [queue.settings.name for queue in await world.store.queues.list()] == ["mail"]
    with pytest.raises(Conflict):
        await world.service.create(hourly())
    assert [one.schedule.name for one in await world.service.list()] == ["n"]


async def test_a_change_withdraws_what_was_planned(world: World) -> None:
    first = await world.service.create(hourly())
    second = await world.service.update("n", parse_patch(b'{"every": "30m", "note": "why", "tags": ["x"]}'))
    assert second.schedule.version == 2
    assert (second.spec.job["tags"], second.schedule.note) == (["x"], "why")
    assert second.schedule.next_fire_at == START + 30 * MINUTE
    old = await world.job(first.schedule.next_job_id)
    assert (old.state, old.attempts) == (JobState.CANCELLED, [])
    assert old.error is not None
    assert (old.error.kind, old.error.message) == ("cancelled", "schedule changed")
    assert await world.live() == 1
    third = await world.service.update(
        "n", parse_patch(b'{"every": null, "cron": "0 3 * * *", "note": null}')
    )
    assert (third.rule, third.schedule.note) == ("at 03:00 every day (UTC)", None)
    for patch in (b'{"name": "m"}', b'{"nope": 1}', b'{"cron": "x"}', b'{"type": null}'):
        with pytest.raises(Invalid):
            await world.service.update("n", parse_patch(patch))
    with pytest.raises(NotFound):
        await world.service.update("other", {})


async def test_the_same_fire_time_may_be_planned_again_after_a_withdrawal(world: World) -> None:
    first = await world.service.create(hourly())
    paused = await world.service.pause("n", "holidays")
    assert (paused.schedule.next_job_id, paused.schedule.note) == (None, "holidays")
    assert await world.live() == 0
    old = await world.job(first.schedule.next_job_id)
    assert old.error is not None
    assert old.error.message == "schedule paused"
    assert (await world.service.pause("n")).schedule.version == paused.schedule.version
    resumed = await world.service.resume("n")
    assert resumed.schedule.next_fire_at == START + HOUR
    assert resumed.schedule.next_job_id != first.schedule.next_job_id
    assert await world.live() == 1


async def test_what_has_been_taken_up_is_not_withdrawn(world: World) -> None:
    first = await world.service.create(hourly())
    assert first.schedule.next_job_id is not None
    await world.take_up(first.schedule.next_job_id)
    await world.service.delete("n")
    assert (await world.job(first.schedule.next_job_id)).state is JobState.AVAILABLE
    with pytest.raises(NotFound):
        await world.service.get("n")
    with pytest.raises(NotFound):
        await world.service.delete("n")


async def test_a_fire_time_taken_up_meanwhile_is_not_planned_twice(world: World) -> None:
    first = await world.service.create(hourly())
    assert first.schedule.next_job_id is not None
    # Promotion takes it up just before we look at the clock, which still shows a moment before the fire time.
    await world.take_up(first.schedule.next_job_id)
    second = await world.service.update("n", parse_patch(b'{"jitter": "1s"}'))
    assert second.schedule.next_fire_at == START + 2 * HOUR
    assert second.latest == [(START + HOUR, first.schedule.next_job_id, "available")]


async def test_fire_times_that_were_taken_up_before_the_clock_was_set_back(world: World) -> None:
    view = await world.service.create(hourly(every="1s"))
    rows = [(view.schedule.id, START + SECOND * second, f"job-{second}") for second in range(2, 31)]
    await world.database.write(
        lambda connection: (
            connection.executemany(
                "INSERT INTO occurrences (namespace, schedule_id, fire_at, job_id) VALUES ('default', ?, ?, ?)",
                rows,
            ).rowcount
        )
    )
    assert view.schedule.next_job_id is not None
    await world.take_up(view.schedule.next_job_id)
    await world.service.pause("n")
    schedule = (await world.service.resume("n")).schedule
    assert schedule.next_fire_at == START + 31 * SECOND
    assert (await world.job(schedule.next_job_id)).run_at == START + 31 * SECOND


async def test_a_rule_that_cannot_be_read_hides_nothing_else(world: World) -> None:
    for name in ("bad", "good"):
        await world.service.create(hourly(name, every=None, cron="@daily", timezone="Europe/Berlin"))
    await world.break_zone("bad")
    views = await world.service.list()
    assert [(view.schedule.name, view.readable) for view in views] == [("bad", False), ("good", True)]
    bad = await world.service.get("bad")
    assert "Europe/Gone" in bad.rule
    assert (bad.upcoming, "at" in bad.request, "cron" in bad.request) == ([], False, False)
    for verb in (world.service.update("bad", parse_patch(b'{"note": "x"}')), world.service.trigger("bad")):
        with pytest.raises(Conflict, match="cannot be read"):
            await verb
    # It can be paused, but not be resumed.
    paused = await world.service.pause("bad", "who took Europe?")
    assert (paused.schedule.paused, paused.schedule.note) == (True, "who took Europe?")
    with pytest.raises(Conflict, match="cannot be read"):
        await world.service.resume("bad")
    await world.service.delete("bad")


async def test_a_declared_rule_that_could_not_be_read_is_replaced_and_goes_on(world: World) -> None:
    await world.service.reconcile(
        [hourly("a", note="ours"), hourly("b"), hourly("c", cron="@daily", every=None)]
    )
    for name in ("a", "b", "c"):
        await world.service.pause(name, "a person's" if name == "b" else f"{PARKED}no such zone\nours")
    await world.break_zone("c", "UTC")
    await world.service.reconcile([hourly("a", note="ours"), hourly("b"), hourly("c")], types={"echo"})
    views = {view.schedule.name: view.schedule for view in await world.service.list()}
    assert [(one.paused, one.note) for one in views.values()] == [
        (False, "ours"),
        (True, "a person's"),
        (False, "ours"),
    ]
    assert (await world.job(views["c"].next_job_id)).state is JobState.SCHEDULED
    # One that is gone from the code is not deleted while nobody can say whose it is.
    await world.service.update("c", parse_patch(b'{"every": null, "cron": "@daily"}'))
    await world.break_zone("c", "UTC")
    await world.service.reconcile([hourly("a"), hourly("b")], types={"echo"})
    assert [view.schedule.name for view in await world.service.list()] == ["a", "b", "c"]


async def test_resuming_what_was_parked_clears_the_note(world: World) -> None:
    await world.service.create(hourly())
    await world.service.pause("n", f"{PARKED}no such zone")
    assert (await world.service.resume("n")).schedule.note is None


async def test_a_put_that_expects_another_version_changes_nothing(world: World) -> None:
    view = await world.service.create(hourly())
    pending = first_occurrence(view.schedule, world.now, world.ids, Random(1))
    for expect in (0, 2):
        with pytest.raises(Conflict):
            await world.store.schedules.put(view.schedule, pending, expect)
    assert (await world.service.get("n")).schedule == view.schedule


async def test_trigger_runs_one_now(world: World) -> None:
    view = await world.service.create(hourly(priority=9, paused=True))
    inserted = await world.service.trigger("n")
    (job,) = world.enqueued
    assert (job.id, job.schedule_id, job.priority) == (inserted.id, view.schedule.id, 9)
    assert job.options.fire_at is None


async def test_what_would_never_fire_is_refused(world: World) -> None:
    for request in (
        ScheduleRequest(name="a", type="t", at="2020-01-01T00:00:00Z"),
        hourly(end_at="2020-01-01T00:00:00Z"),
    ):
        with pytest.raises(Invalid):
            await world.service.create(request)


# --- from a job ---------------------------------------------------------------------------------------------------


async def test_a_job_with_cron_makes_a_schedule(world: World) -> None:
    request = JobRequest(type="echo", cron="0 */6 * * *", idempotency_key="k", delay="30s", tags=("a",))
    job = validate(request, world.ids.new())
    first, how = await world.service.from_job(request, job)
    assert how == "created"
    assert first.options.tags == ("a",)
    world.now += MINUTE
    assert await world.service.from_job(request, job) == (first, "replayed")
    other = msgspec.structs.replace(request, tags=("b",))
    with pytest.raises(Conflict):
        await world.service.from_job(other, validate(other, world.ids.new()))
    named = msgspec.structs.replace(request, schedule="mine", idempotency_key=None)
    await world.service.from_job(named, validate(named, world.ids.new()))
    assert [one.schedule.name for one in await world.service.list()][1] == "mine"


# --- declared -----------------------------------------------------------------------------------------------------


async def test_declared_schedules_are_made_once_changed_and_removed(world: World) -> None:
    await world.service.create(hourly("by-hand"))
    declared = [hourly("a"), hourly("b", cron="@daily", every=None)]
    await asyncio.gather(*(world.service.reconcile(declared) for _ in range(4)))
    views = {view.schedule.name: view.schedule for view in await world.service.list()}
    assert {name: (one.declared, one.version) for name, one in views.items()} == {
        "a": (True, 1),
        "b": (True, 1),
        "by-hand": (False, 1),
    }
    assert await world.live() == 3
    await world.service.pause("a")
    await world.service.reconcile([hourly("a", tags=("new",))], types={"another application's"})
    view = await world.service.get("a")
    assert (view.schedule.paused, view.spec.job["tags"]) == (True, ["new"])
    assert "b" in [view.schedule.name for view in await world.service.list()]
    await world.service.reconcile([hourly("a", tags=("new",))], types={view.spec.job["type"]})
    assert [view.schedule.name for view in await world.service.list()] == ["a", "by-hand"]
    assert (await world.service.get("a")).schedule.version == view.schedule.version


# --- queues -------------------------------------------------------------------------------------------------------


async def test_a_paused_queue_says_by_whom_and_since_when(world: World) -> None:
    queues = world.store.queues
    await queues.set("mail", paused=True, by="ana", max_depth=5, clear_depth=False)
    world.now += SECOND
    await queues.set("mail", paused=True, by="ben", max_depth=None, clear_depth=False)
    (view,) = await queues.list()
    settings = view.settings
    assert (settings.paused_by, settings.paused_at, settings.max_depth) == ("ana", START, 5)
    settings = await queues.set("mail", paused=False, by="ben", max_depth=None, clear_depth=True)
    assert (settings.paused, settings.paused_by, settings.max_depth) == (False, None, None)
    events = await world.store.queries.events("0.0", 10)
    assert [(event.subject, event.key, event.state) for event in events] == [
        ("queue", "mail", "paused"),
        ("queue", "mail", "changed"),
        ("queue", "mail", "resumed"),
        ("queue", "mail", "changed"),
    ]
