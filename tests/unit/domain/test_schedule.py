from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flux.domain.duration import DAY, HOUR, MINUTE, SECOND, format_instant, parse_instant
from flux.domain.schedule import (
    Cron,
    Every,
    Misfire,
    Once,
    Overlap,
    ScheduleError,
    ScheduleSpec,
    parse_rule,
)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # shifts by half an hour
    "Africa/Casablanca",  # four shifts a year in some years, and "winter time" in summer
    "America/Havana",  # shifts at midnight
    "Asia/Kathmandu",
    "America/St_Johns",
]


def local(rule: Cron, after: str, n: int) -> list[str]:
    """The next fire times as the clocks of the rule's zone show them, with their offset."""
    zone = ZoneInfo(rule.timezone)
    start = parse_instant(datetime.fromisoformat(after).replace(tzinfo=zone))
    return [
        datetime.fromtimestamp(fire // SECOND, zone).strftime("%m-%d %H:%M %z")
        for fire in rule.upcoming(start, n)
    ]


def utc(rule: Cron, after: str, n: int) -> list[str]:
    return [format_instant(fire)[:16] for fire in rule.upcoming(parse_instant(after + ":00Z"), n)]


# --- daylight saving -------------------------------------------------------------------------------


def test_a_skipped_local_time_runs_once_at_the_next_valid_instant() -> None:
    rule = Cron("30 2 * * *", "Europe/Berlin")
    assert local(rule, "2026-03-28T00:00", 3) == [
        "03-28 02:30 +0100",
        "03-29 03:00 +0200",
        "03-30 02:30 +0200",
    ]


def test_several_skipped_times_run_once_together() -> None:
    rule = Cron("0,20,40 2,3 * * *", "Europe/Berlin")
    assert local(rule, "2026-03-29T01:00", 4) == [
        "03-29 03:00 +0200", "03-29 03:20 +0200", "03-29 03:40 +0200", "03-30 02:00 +0200",
    ]  # fmt: skip


def test_a_repeated_local_time_runs_once_at_its_first_pass() -> None:
    rule = Cron("30 2 * * *", "Europe/Berlin")
    assert local(rule, "2026-10-25T00:00", 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]
    # Also when asked between the two passes.
    between = parse_instant("2026-10-25T02:45:00+02:00")
    assert rule.next_after(between) == parse_instant("2026-10-26T02:30:00+01:00")
    in_the_second = parse_instant("2026-10-25T02:10:00+01:00")
    assert rule.next_after(in_the_second) == parse_instant("2026-10-26T02:30:00+01:00")


def test_six_fields_keep_the_same_rules() -> None:
    rule = Cron("15 30 2 * * *", "Europe/Berlin")
    assert local(rule, "2026-03-29T00:00", 1) == ["03-29 03:00 +0200"]
    assert local(rule, "2026-10-25T00:00", 2) == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("expression", "apart"), [("*/15 * * * *", 15 * MINUTE), ("* * * * *", MINUTE)])
def test_intervals_go_on_in_real_time(zone: str, expression: str, apart: int) -> None:
    fires = Cron(expression, zone).upcoming(parse_instant("2026-10-24T12:00:00Z"), 30 * 60)
    assert {later - earlier for earlier, later in pairwise(fires)} == {apart}


@pytest.mark.parametrize("start", ["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z"])
@pytest.mark.parametrize("expression", ["0 * * * *", "30 * * * *", "@hourly", "5 0-23 * * *"])
def test_hourly_goes_on_in_real_time(expression: str, start: str) -> None:
    fires = Cron(expression, "Europe/Berlin").upcoming(parse_instant(start), 48)
    assert {later - earlier for earlier, later in pairwise(fires)} == {HOUR}


def test_every_second_hour_does_not_run_twice_at_two() -> None:
    assert local(Cron("0 */2 * * *", "Europe/Berlin"), "2026-10-24T23:00", 3) == [
        "10-25 00:00 +0200", "10-25 02:00 +0200", "10-25 04:00 +0100",
    ]  # fmt: skip


def test_minutes_of_some_hours_follow_real_time_and_are_not_lost_in_a_gap() -> None:
    rule = Cron("*/30 2 * * *", "Europe/Berlin")
    assert local(rule, "2026-10-25T00:00", 4) == [
        "10-25 02:00 +0200", "10-25 02:30 +0200", "10-25 02:00 +0100", "10-25 02:30 +0100",
    ]  # fmt: skip
    assert local(rule, "2026-03-29T00:00", 2) == ["03-29 03:00 +0200", "03-30 02:00 +0200"]


def test_a_shift_of_half_an_hour() -> None:
    lord_howe = "Australia/Lord_Howe"
    assert local(Cron("15 2 * * *", lord_howe), "2026-10-04T00:00", 1) == ["10-04 02:30 +1100"]
    assert local(Cron("45 1 * * *", lord_howe), "2026-04-05T00:00", 2) == [
        "04-05 01:45 +1100",
        "04-06 01:45 +1030",
    ]
    assert local(Cron("0 3 * * *", lord_howe), "2026-10-04T00:00", 1) == ["10-04 03:00 +1100"]
    # Half past two: the clocks go from 01:59 to 02:30, so it is there.
    assert local(Cron("*/15 2 * * *", lord_howe), "2026-10-04T00:00", 2) == [
        "10-04 02:30 +1100",
        "10-04 02:45 +1100",
    ]


def test_a_shift_at_midnight() -> None:
    havana = "America/Havana"
    assert local(Cron("@daily", havana), "2026-03-07T12:00", 2) == ["03-08 01:00 -0400", "03-09 00:00 -0400"]
    assert local(Cron("@daily", havana), "2026-10-31T12:00", 2) == ["11-01 00:00 -0400", "11-02 00:00 -0500"]


def test_clocks_that_fall_back_into_yesterday() -> None:
    # Until 2011 Newfoundland went from 00:01 back to 23:01 of the day before.
    rule = Cron("*/30 23 7 11 *", "America/St_Johns")
    assert local(Cron("*/30 23 6 11 *", "America/St_Johns"), "2010-11-06T20:00", 3) == [
        "11-06 23:00 -0230", "11-06 23:30 -0230", "11-06 23:30 -0330",
    ]  # fmt: skip
    assert local(rule, "2010-11-06T20:00", 1) == ["11-07 23:00 -0330"]


def test_a_skipped_day_runs_at_the_end_of_the_gap() -> None:
    rule = Cron("30 12 30 12 *", "Pacific/Apia")  # Samoa had no 30 December 2011
    assert local(rule, "2011-12-01T00:00", 2) == ["12-31 00:00 +1400", "12-30 12:30 +1400"]


# --- cron --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 13 * FRI", ["2026-01-02T00:00", "2026-01-09T00:00"]),  # one of the two is enough
        ("0 0 13 * */6", ["2026-06-13T00:00", "2026-09-13T00:00"]),  # a star: both (SUN and SAT)
        ("0 0 L * *", ["2026-01-31T00:00", "2026-02-28T00:00"]),
        ("0 0 15,L * *", ["2026-01-15T00:00", "2026-01-31T00:00"]),
        ("0 9 * * MON#1", ["2026-01-05T09:00", "2026-02-02T09:00"]),
        ("0 9 * * FRIL", ["2026-01-30T09:00", "2026-02-27T09:00"]),
        ("0 9 * * 1#1,3", ["2026-01-05T09:00", "2026-01-07T09:00"]),
        ("0 9 * * 1#5", ["2026-03-30T09:00", "2026-06-29T09:00"]),
        ("59 23 31 12 *", ["2026-12-31T23:59", "2027-12-31T23:59"]),
        ("0 */6 * * *", ["2026-01-01T06:00", "2026-01-01T12:00"]),
    ],
)
def test_dates_are_found(expression: str, fires: list[str]) -> None:
    assert utc(Cron(expression), "2026-01-01T00:00", 2) == fires


def test_a_leap_day_is_found_across_a_century() -> None:
    assert utc(Cron("0 0 29 2 *"), "2096-03-01T00:00", 1) == ["2104-02-29T00:00"]


def test_seconds() -> None:
    rule = Cron("*/20 * * * * *")
    assert [fire % MINUTE // SECOND for fire in rule.upcoming(0, 4)] == [20, 40, 0, 20]
    assert rule.next_after(20 * SECOND - 1) == 20 * SECOND
    assert rule.next_after(20 * SECOND) == 40 * SECOND


def test_the_ends_of_time_are_ends_and_no_errors() -> None:
    assert Cron("@daily").next_after(-(10**30)) == 0
    assert Cron("@daily", "Europe/Berlin").next_after(10**30) is None
    assert Cron("@yearly").upcoming(parse_instant("9891-06-01T00:00:00Z"), 9)[:1] == [
        parse_instant("9892-01-01T00:00:00Z")
    ]


@pytest.mark.parametrize(
    "zone", ["Mars/Phobos", "", "Europe", "../etc/passwd", "/etc/passwd", "x" * 5000, "a\0b"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ScheduleError, match="not a known time zone") as caught:
        Cron("@daily", zone)
    assert caught.value.field == "timezone"


def test_a_bad_expression_is_refused() -> None:
    with pytest.raises(ScheduleError, match="never fires") as caught:
        Cron("0 0 30 2 *")
    assert caught.value.field == "cron"


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    """A cron field between two bounds: a star, a step, or a list."""
    numbers = st.lists(st.integers(low, high), min_size=1, max_size=3, unique=True)
    return st.one_of(
        st.just("*"),
        st.integers(1, min(high, 20)).map(lambda step: f"*/{step}"),
        numbers.map(lambda values: ",".join(str(value) for value in values)),
        st.tuples(st.integers(low, high), st.integers(low, high)).map(
            lambda ends: f"{min(ends)}-{max(ends)}"
        ),
    )


# The nights around a shift are where the bugs live, so the hours lean towards them.
expressions = st.tuples(
    _field(0, 59), st.one_of(_field(0, 23), _field(0, 3)), _field(1, 28), st.just("*"), _field(0, 6)
).map(" ".join)


def _numbers(text: str, low: int, high: int) -> set[int]:
    """What a field of `_field` names, read by the plainest code."""
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        values |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return values


def walk(expression: str, zone: ZoneInfo, start: datetime, minutes: int) -> list[int]:
    """All fire times of some minutes, by looking at every minute of real time."""
    minute, hour, date, _, weekday = expression.split()
    named = [_numbers(minute, 0, 59), _numbers(hour, 0, 23), _numbers(date, 1, 31), _numbers(weekday, 0, 6)]
    both = date.startswith("*") or weekday.startswith("*")
    hourly = named[1] == set(range(24))

    def matches(moment: datetime) -> bool:
        by_date, by_weekday = moment.day in named[2], moment.isoweekday() % 7 in named[3]
        day = by_date and by_weekday if both else by_date or by_weekday
        return moment.minute in named[0] and moment.hour in named[1] and day

    fires = []
    before = (start - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
    for passed in range(minutes):
        moment = start + timedelta(minutes=passed)
        clock = moment.astimezone(zone)
        shown = clock.replace(tzinfo=None, fold=0)
        skipped = []
        while not hourly and (before := before + timedelta(minutes=1)) < shown:
            skipped.append(before)
        second_pass = clock.fold == 1 and not (hourly or minute.startswith("*"))
        if (matches(shown) and not second_pass) or any(matches(gone) for gone in skipped):
            fires.append(parse_instant(moment))
        before = shown
    return fires


SHIFTS = [  # a day before a change of the clocks in one of the zones
    datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC),
    datetime(2026, 3, 7, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC), datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2026, 2, 14, tzinfo=UTC), datetime(2026, 3, 21, tzinfo=UTC),
    datetime(2010, 11, 6, tzinfo=UTC), datetime(2010, 3, 13, tzinfo=UTC),
]  # fmt: skip


@settings(max_examples=100, deadline=None)  # 3,000 found nothing more
@given(expressions, st.sampled_from(ZONES), st.sampled_from(SHIFTS), st.integers(0, 1440))
@example("30 2 * * *", "Europe/Berlin", SHIFTS[0], 0)
@example("*/15 0-3 * * *", "Australia/Lord_Howe", SHIFTS[4], 0)
@example("*/15 0-3 * * *", "Australia/Lord_Howe", SHIFTS[5], 0)
def test_it_agrees_with_a_walk_over_all_minutes(
    expression: str, zone: str, day: datetime, offset: int
) -> None:
    start, minutes = day + timedelta(minutes=offset), 2 * 1440
    begin, end = parse_instant(start), parse_instant(start) + minutes * MINUTE
    rule = Cron(expression, zone)
    fires = []
    fire = rule.next_after(begin - 1)
    while fire is not None and fire < end:
        fires.append(fire)
        fire = rule.next_after(fire)
    assert fires == walk(expression, ZoneInfo(zone), start, minutes)


instants = st.integers(0, parse_instant("2200-01-01T00:00:00Z"))
crons = st.builds(Cron, expressions, st.sampled_from(ZONES))
rules = st.one_of(
    crons, st.builds(Every, st.integers(100_000, 400 * DAY), instants), st.builds(Once, instants)
)


@settings(deadline=None)
@given(rules, instants)
def test_fire_times_increase_strictly(rule: Cron | Every | Once, after: int) -> None:
    fires = rule.upcoming(after, 20)
    assert all(earlier < later for earlier, later in pairwise([after, *fires]))


@settings(deadline=None)
@given(rules, instants, st.integers(0, 40 * DAY))
def test_nothing_lies_between_an_instant_and_its_next_fire(
    rule: Cron | Every | Once, after: int, ahead: int
) -> None:
    fire = rule.next_after(after)
    assume(fire is not None)
    assert fire is not None
    between = min(after + ahead, fire - 1)
    assert rule.next_after(between) == fire


# --- the other rules -----------------------------------------------------------------------------------


def test_an_interval_keeps_to_its_anchor() -> None:
    rule = Every(5 * MINUTE, anchor=MINUTE)
    assert rule.upcoming(MINUTE, 2) == [6 * MINUTE, 11 * MINUTE]
    assert rule.upcoming(0, 1) == [MINUTE]
    assert rule.next_after(8 * MINUTE + 1) == 11 * MINUTE
    assert rule.describe() == "every 5m"


@pytest.mark.parametrize("interval", [0, -1, 99_999])
def test_an_interval_is_long_enough(interval: int) -> None:
    with pytest.raises(ScheduleError, match="at least 100ms"):
        Every(interval)


def test_once_is_once() -> None:
    rule = Once(1000)
    assert rule.upcoming(999, 5) == [1000]
    assert rule.next_after(1000) is None
    assert rule.describe() == "once at 1970-01-01T00:00:00.001000Z"


def test_cron_says_where_its_clock_hangs() -> None:
    assert Cron("30 2 * * *", "Europe/Berlin").describe() == "at 02:30 every day (Europe/Berlin)"


def test_rules_are_read_from_what_people_write() -> None:
    assert parse_rule(cron="0 */6 * * *") == Cron("0 */6 * * *", "UTC")
    assert parse_rule(cron="@daily", timezone="Europe/Berlin") == Cron("@daily", "Europe/Berlin")
    assert parse_rule(cron="@every 90s", anchor=7) == Every(90 * SECOND, 7)
    assert parse_rule(every=timedelta(minutes=1)) == Every(MINUTE)
    assert parse_rule(at="1970-01-01T00:00:01Z") == Once(SECOND)


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({}, "cron"),
        ({"cron": "@daily", "every": "5m"}, "cron"),
        ({"cron": "x"}, "cron"),
        ({"cron": "@every soon"}, "cron"),
        ({"cron": "@daily", "timezone": "Nowhere"}, "timezone"),
        ({"every": "5m", "timezone": "UTC"}, "timezone"),
        ({"at": "1970-01-01T00:00:01Z", "timezone": "UTC"}, "timezone"),
        ({"cron": "@every 5m", "timezone": "Europe/Berlin"}, "timezone"),
        ({"every": "soon"}, "every"),
        ({"every": "-5m"}, "every"),
        ({"at": "2026-01-01T00:00:00"}, "at"),
    ],
)
def test_a_rule_that_is_none_names_its_field(given_: dict[str, Any], field: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_rule(**given_)
    assert caught.value.field == field


# --- the schedule ----------------------------------------------------------------------------------------


def spec(**changes: Any) -> ScheduleSpec:
    parts: dict[str, Any] = {"name": "s", "rule": Every(MINUTE), "job": {"type": "t"}}
    return ScheduleSpec(**(parts | changes))


def test_a_schedule_reads_back_from_json() -> None:
    for rule in (Cron("30 2 * * *", "Europe/Berlin"), Every(MINUTE, 3), Once(5)):
        written = spec(rule=rule, misfire=Misfire.SKIP, overlap=Overlap.CANCEL_PREVIOUS, end_at=DAY)
        assert msgspec.json.decode(msgspec.json.encode(written), type=ScheduleSpec) == written
    assert spec(rule=Cron("@daily", "Asia/Kathmandu")).timezone == "Asia/Kathmandu"
    assert spec().timezone == "UTC"
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(
            b'{"name":"s","rule":{"kind":"cron","expression":"x"},"job":{}}', type=ScheduleSpec
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"jitter": -1}, "jitter"),
        ({"jitter": DAY + 1}, "jitter"),
        ({"misfire_grace": -1}, "misfire_grace"),
        ({"start_at": 2, "end_at": 1}, "end_at"),
    ],
)
def test_a_schedule_that_makes_no_sense_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        spec(**changes)
    assert caught.value.field == field


def test_start_and_end_are_included() -> None:
    bounded = spec(start_at=10 * MINUTE, end_at=12 * MINUTE)
    assert bounded.upcoming(0, 9) == [10 * MINUTE, 11 * MINUTE, 12 * MINUTE]
    assert bounded.next_after(12 * MINUTE) is None


def test_on_time_is_the_same_under_every_policy() -> None:
    for misfire in Misfire:
        due = spec(misfire=misfire).fires_due(10 * MINUTE, 10 * MINUTE + SECOND, 100)
        assert due == ([10 * MINUTE], 11 * MINUTE)
        assert spec(misfire=misfire).fires_due(10 * MINUTE, 10 * MINUTE - 1, 100) == ([], 10 * MINUTE)


def test_misfires_by_policy() -> None:
    now = 20 * MINUTE + 30 * SECOND
    assert spec(misfire=Misfire.RUN_ONCE).fires_due(10 * MINUTE, now, 100) == ([20 * MINUTE], 21 * MINUTE)
    assert spec(misfire=Misfire.SKIP).fires_due(10 * MINUTE, now, 100) == ([20 * MINUTE], 21 * MINUTE)
    every = [minute * MINUTE for minute in range(10, 21)]
    assert spec(misfire=Misfire.RUN_ALL).fires_due(10 * MINUTE, now, 100) == (every, 21 * MINUTE)


def test_a_single_missed_run() -> None:
    daily = {"rule": Every(DAY), "name": "daily"}
    now = DAY + 3 * HOUR
    assert spec(**daily, misfire=Misfire.RUN_ONCE).fires_due(DAY, now, 9) == ([DAY], 2 * DAY)
    assert spec(**daily, misfire=Misfire.SKIP).fires_due(DAY, now, 9) == ([], 2 * DAY)
    assert spec(**daily, misfire=Misfire.RUN_ALL).fires_due(DAY, now, 9) == ([DAY], 2 * DAY)
    assert spec(rule=Once(DAY), misfire=Misfire.SKIP).fires_due(DAY, now, 9) == ([], None)
    assert spec(rule=Once(DAY)).fires_due(DAY, now, 9) == ([DAY], None)


def test_run_all_goes_on_where_the_limit_stopped_it() -> None:
    schedule, now = spec(misfire=Misfire.RUN_ALL), 20 * MINUTE
    due, following = schedule.fires_due(10 * MINUTE, now, 4)
    assert (due, following) == ([10 * MINUTE, 11 * MINUTE, 12 * MINUTE, 13 * MINUTE], 14 * MINUTE)
    assert schedule.fires_due(14 * MINUTE, now, 100)[0] == [minute * MINUTE for minute in range(14, 21)]
    with pytest.raises(ValueError, match="at least 1"):
        schedule.fires_due(0, now, 0)


def test_jitter_is_no_lateness() -> None:
    jittery = spec(rule=Every(DAY), jitter=HOUR, misfire=Misfire.SKIP)
    assert jittery.fires_due(DAY, DAY + HOUR + SECOND, 9) == ([DAY], 2 * DAY)
    assert jittery.fires_due(DAY, DAY + HOUR + 2 * MINUTE, 9) == ([], 2 * DAY)
    assert jittery.occurrence_at(DAY, 0.5) == DAY + HOUR // 2
    assert spec().occurrence_at(DAY, 0.9) == DAY


def test_paused_runs_nothing() -> None:
    assert spec(paused=True).fires_due(MINUTE, 3 * MINUTE, 9) == ([], 4 * MINUTE)


def test_missed_runs_after_the_end_do_not_count() -> None:
    ended = spec(end_at=5 * MINUTE)
    assert ended.fires_due(2 * MINUTE, DAY, 9) == ([5 * MINUTE], None)
    assert ended.fires_due(6 * MINUTE, DAY, 9) == ([], None)
    assert spec(start_at=DAY).fires_due(MINUTE, HOUR, 9) == ([], DAY)


@settings(deadline=None)
@given(
    rules, st.integers(0, 10**15), st.integers(0, 3 * HOUR), st.sampled_from(Misfire), st.integers(0, HOUR)
)
def test_due_and_following_fit_together(
    rule: Cron | Every | Once, begin: int, late: int, misfire: Misfire, jitter: int
) -> None:
    assume(not (isinstance(rule, Every) and rule.interval < SECOND))
    schedule = spec(rule=rule, misfire=misfire, jitter=jitter)
    first = schedule.next_after(begin)
    assume(first is not None)
    assert first is not None
    now = first + late
    due, following = schedule.fires_due(first, now, 20_000)

    everything = []
    fire: int | None = first
    while fire is not None and fire <= now:
        everything.append(fire)
        fire = rule.next_after(fire)
    assert following == fire
    on_time = [fire for fire in everything if fire >= now - MINUTE - jitter]
    if misfire is Misfire.RUN_ALL or on_time == everything:
        assert due == everything
    elif misfire is Misfire.SKIP:
        assert due == on_time
    else:
        assert due == everything[-1:]


def test_years_of_missed_seconds_are_no_work() -> None:
    schedule = spec(rule=Cron("* * * * * *", "Europe/Berlin"))
    now = parse_instant("2026-06-01T00:00:00Z")
    assert schedule.fires_due(SECOND, now, 100) == ([now], now + SECOND)
