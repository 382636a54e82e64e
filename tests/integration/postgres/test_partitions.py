"""The partitions of ended jobs: made ahead, and dropped whole once nothing in them is to be kept."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from flux.domain.duration import DAY
from flux.domain.job import Idempotency, JobState
from flux.engine.ports import Retention, Schedule
from flux.stores.postgres.database import Place
from flux.stores.postgres.store import PostgresStore
from tests.conformance.store.lab import LONG, Lab, SteeredClock

KEEP_A_WEEK = Retention(succeeded=7 * DAY, dead=7 * DAY, cancelled=7 * DAY, most=None)


class OneDatabase:
    """The lab's stores, on one database."""

    name = "postgres"

    def __init__(self, url: str) -> None:
        self._url = url

    def handle(self, place: Path, clock: SteeredClock, *, migrate: bool) -> PostgresStore:
        return PostgresStore(Place(url=self._url), clock=clock, migrate=migrate)

    async def remove(self, place: Path) -> None:
        """The fixture does."""


async def partitions(url: str) -> dict[str, int]:
    """The rows of each partition."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT c.relname AS name FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
            "WHERE inhparent = 'flux.done'::regclass"
        )
        return {
            row["name"]: await connection.fetchval(f"SELECT count(*) FROM flux.{row['name']}")
            for row in names
        }
    finally:
        await connection.close()


async def test_a_day_past_retention_goes_whole_with_all_that_hangs_on_it(
    empty_database_url: str, tmp_path: Path
) -> None:
    lab = Lab(OneDatabase(empty_database_url), tmp_path)
    await lab.open()
    try:
        await lab.worker(lease=LONG)
        epoch = await lab.lead()
        plain = await lab.ended(JobState.DEAD)
        keyed = await lab.ended(JobState.SUCCEEDED, idempotency=Idempotency(key="k", fingerprint="f"))
        long = Idempotency(key="l", fingerprint="f", ttl=100 * DAY)
        remembered = await lab.ended(JobState.SUCCEEDED, idempotency=long)
        rule = Schedule(id="id-s", name="s", spec=b"{}", paused=True)
        await lab.store.schedules.put(rule, None, 0)
        occurrences = [await lab.ended(JobState.CANCELLED, schedule_id="id-s") for _ in range(2)]
        assert {name: n for name, n in (await partitions(empty_database_url)).items() if n} == {
            "done_20270115": 5
        }
        lab.clock.advance(2 * DAY)
        young = await lab.ended(JobState.SUCCEEDED)
        lab.clock.advance(6 * DAY)
        while await lab.store.duties.prune(epoch, KEEP_A_WEEK, 1000):
            pass
        found = await partitions(empty_database_url)
        assert "done_20270115" not in found
        assert found["done_20270117"] == 1
        assert "done_20270126" in found, "the next days' are made ahead"
        assert await lab.every_id() == [young]
        for job_id in (plain, keyed):
            assert await lab.state(job_id) is None
        [again] = await lab.insert(lab.job(idempotency=long))
        assert (again.id, again.how, again.state) == (remembered, "replayed", JobState.SUCCEEDED)
        schedule = await lab.store.schedules.get("s")
        assert schedule is not None
        assert schedule.forgotten is not None
        assert (schedule.forgotten.id, schedule.forgotten.state) == (occurrences[1], JobState.CANCELLED)
        [fresh] = await lab.insert(lab.job(idempotency=Idempotency(key="k", fingerprint="other")))
        assert fresh.how == "created"
    finally:
        await lab.close()


@pytest.mark.parametrize("kept", ["succeeded", "dead", "cancelled"])
async def test_a_day_in_which_anything_is_kept_for_ever_stays(
    empty_database_url: str, tmp_path: Path, kept: str
) -> None:
    ages = {"succeeded": DAY, "dead": DAY, "cancelled": DAY, "most": None, kept: None}
    lab = Lab(OneDatabase(empty_database_url), tmp_path)
    await lab.open()
    try:
        await lab.worker(lease=LONG)
        ids = {state: await lab.ended(JobState(state)) for state in ("succeeded", "dead", "cancelled")}
        lab.clock.advance(30 * DAY)
        await lab.store.duties.prune(await lab.lead(), Retention(**ages), 1000)
        assert await lab.every_id() == [ids[kept]]
    finally:
        await lab.close()


async def test_a_day_without_a_partition_is_told_once(
    empty_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(OneDatabase(empty_database_url), tmp_path)
    await lab.open()
    try:
        await lab.worker(lease=LONG)
        lab.clock.advance(30 * DAY)  # for so long nobody has made partitions ahead
        job_id = await lab.ended(JobState.SUCCEEDED)
        epoch = await lab.lead()
        for _ in range(3):
            await lab.store.duties.prune(epoch, KEEP_A_WEEK, 1000)
        told = [record.getMessage() for record in caplog.records if "done_default" in record.getMessage()]
        assert [text.partition(" are in ")[0] for text in told] == ["jobs that ended on 2027-02-14"]
        assert (await partitions(empty_database_url))["done_default"] == 1
        assert await lab.every_id() == [job_id]
    finally:
        await lab.close()
