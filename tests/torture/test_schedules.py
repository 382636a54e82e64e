"""Several of everything on one file: a schedule of every second fires each second once, whoever leads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.torture.house import House, Rest, until

pytestmark = pytest.mark.torture


def every_second(rest: Rest) -> str:
    """A schedule whose handler leaves a line; its id."""
    status, _, schedule = rest.call(
        "POST",
        "/api/v1/schedules",
        {
            "name": "tick",
            "cron": "* * * * * *",
            "type": "append",
            "payload": {"file": "ticks", "line": "tick"},
            "misfire": "run_all",
        },
    )
    assert status == 201, schedule
    return str(schedule["id"])


def fired(house: House, schedule_id: str) -> list[datetime]:
    """The instants of the occurrences that succeeded, as the store has them."""
    rows = house.rows(
        "SELECT run_at FROM done WHERE schedule_id = ? AND state = 'succeeded' ORDER BY run_at", schedule_id
    )
    return [datetime.fromtimestamp(run_at / 1_000_000, UTC) for (run_at,) in rows]


def check(house: House, schedule_id: str, ticks: list[datetime]) -> None:
    """Each second between the first and the last has one occurrence, and each of these ran once."""
    assert ticks == [ticks[0] + timedelta(seconds=n) for n in range(len(ticks))], ticks
    assert all(tick.microsecond == 0 for tick in ticks)
    occurrences = house.rows("SELECT fire_at, count(*) FROM occurrences GROUP BY fire_at HAVING count(*) > 1")
    assert occurrences == []


def test_two_of_everything_fire_each_second_once(house: House) -> None:
    first, rest = house.up()
    second, other = house.up("--no-reload", command="dev")
    # A handful of schedulers besides.
    more = [house.scheduler() for _ in range(2)]
    schedule = every_second(rest)
    until(lambda: len(fired(house, schedule)) >= 5, "five seconds")
    assert other.call("POST", "/api/v1/schedules/tick/pause")[0] == 200
    until(
        lambda: not house.rows("SELECT 1 FROM live WHERE state IN ('running', 'available')"),
        "what is under way to end",
    )
    ticks = fired(house, schedule)
    check(house, schedule, ticks)
    assert house.witnessed("ticks") == {"tick": len(ticks)}
    leaders = [p for p in (first, second, *more) if "this scheduler leads" in p.log]
    assert len(leaders) == 1
    # They see the same jobs.
    seen = [each.call("GET", "/api/v1/jobs?limit=1")[2]["jobs"] for each in (rest, other)]
    assert seen[0] == seen[1]


def test_no_second_is_lost_or_repeated_when_the_leader_is_killed(house: House) -> None:
    leader = house.leader()
    heirs = [house.scheduler(), house.scheduler()]
    worker = house.worker()
    api, rest = house.api()
    schedule = every_second(rest)
    until(lambda: len(fired(house, schedule)) >= 2, "two seconds")
    leader.kill()
    until(
        lambda: any("this scheduler leads (epoch 2)" in heir.log for heir in heirs),
        "another leader",
    )
    until(lambda: len(fired(house, schedule)) >= 6, "the missed seconds, and more")
    assert rest.call("POST", "/api/v1/schedules/tick/pause")[0] == 200
    until(
        lambda: not house.rows("SELECT 1 FROM live WHERE state IN ('running', 'available')"),
        "what is under way to end",
    )
    ticks = fired(house, schedule)
    check(house, schedule, ticks)
    assert house.witnessed("ticks") == {"tick": len(ticks)}
    assert sum("this scheduler leads" in heir.log for heir in heirs) == 1
    assert worker.code is None
    assert api.code is None
