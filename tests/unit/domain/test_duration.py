from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.domain.duration import (
    DAY,
    HOUR,
    LONGEST,
    MILLISECOND,
    MINUTE,
    SECOND,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)


@pytest.mark.parametrize(
    ("written", "us"),
    [
        ("30s", 30 * SECOND),
        ("5m", 5 * MINUTE),
        ("1h30m", HOUR + 30 * MINUTE),
        (" 1h 30m ", HOUR + 30 * MINUTE),
        ("250ms", 250 * MILLISECOND),
        ("15us", 15),
        ("2d", 2 * DAY),
        ("1w", 7 * DAY),
        ("1.5s", 1_500_000),
        ("0.1s", 100_000),
        ("0s", 0),
        ("-5s", -5 * SECOND),
        ("+5s", 5 * SECOND),
        ("-1h30m", -(HOUR + 30 * MINUTE)),
        (30, 30 * SECOND),
        (0.1, 100_000),
        (-2.5, -2_500_000),
        (0, 0),
        (timedelta(hours=1, microseconds=1), HOUR + 1),
        (timedelta(seconds=-1), -SECOND),
        ("36525d", LONGEST),
    ],
)
def test_durations_are_read(written: Any, us: int) -> None:
    assert parse_duration(written) == us


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("30", "no unit"),
        ("s", "not a duration"),
        ("-", "not a duration"),
        ("5M", "not a duration"),
        ("30m1h", "not a duration"),
        ("1h1h", "not a duration"),
        ("1,5s", "not a duration"),
        ("5s!", "not a duration"),
        ("٣s", "not a duration"),
        ("--5s", "not a duration"),
        pytest.param("1" * 5000 + "s", "not a duration", id="long text"),
        (True, "cannot be True"),
        (None, "cannot be None"),
        ([], "cannot be"),
        (b"5s", "cannot be"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (float("-inf"), "finite"),
        (1e300, "100 years"),
        pytest.param(10**5000, "100 years", id="huge int"),
        pytest.param(-(10**400), "100 years", id="huge negative int"),
        ("36526d", "100 years"),
        ("99999999999999h", "100 years"),
        (timedelta.max, "100 years"),
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(written: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_duration(written)
    assert '"1h30m"' in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"),
        (HOUR + 30 * MINUTE, "1h30m"),
        (250 * MILLISECOND, "250ms"),
        (1_500_000, "1.5s"),
        (15, "15us"),
        (1_500, "1500us"),
        (MINUTE + 250 * MILLISECOND, "1m0.25s"),
        (7 * DAY, "7d"),
        (90 * SECOND, "1m30s"),
        (-5 * SECOND, "-5s"),
    ],
)
def test_durations_are_written_short(us: int, text: str) -> None:
    assert format_duration(us) == text


@given(st.integers(-LONGEST, LONGEST))
def test_a_written_duration_reads_back(us: int) -> None:
    assert parse_duration(format_duration(us)) == us


@given(st.text(alphabet="0123456789.wdhmsu -+", max_size=20))
def test_reading_gives_a_bounded_number_or_a_value_error(text: str) -> None:
    try:
        us = parse_duration(text)
    except ValueError:
        return
    assert abs(us) <= LONGEST
    assert parse_duration(format_duration(us)) == us


def test_an_instant_is_written_with_six_decimals() -> None:
    assert format_instant(1_795_548_834_123_456) == "2026-11-24T19:33:54.123456Z"
    assert format_instant(0) == "1970-01-01T00:00:00.000000Z"
    assert format_instant(-1) == "1969-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-24T19:33:54Z",
        "2026-11-24t19:33:54z",
        "2026-11-24 19:33:54.000000999Z",
        "2026-11-24T20:33:54+01:00",
        "2026-11-24T14:03:54.0-05:30",
        " 2026-11-24T19:33:54+00:00 ",
        datetime(2026, 11, 24, 20, 33, 54, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_instants_are_read(written: str | datetime) -> None:
    assert parse_instant(written) == 1_795_548_834_000_000


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("2026-11-24T19:33:54", "no offset"),
        (datetime(2026, 11, 24), "no offset"),  # noqa: DTZ001
        ("2026-11-24", "not an RFC 3339"),
        ("20261124T193354Z", "not an RFC 3339"),
        ("2026-W48-2T00:00:00Z", "not an RFC 3339"),
        ("2026-02-30T00:00:00Z", "not a time that exists"),
        ("2026-11-24T25:00:00Z", "not a time that exists"),
        ("0000-01-01T00:00:00Z", "not a time that exists"),
        ("2026-11-24T00:00:00+99:00", "not a time that exists"),
        ("tomorrow", "not an RFC 3339"),
        ("", "not an RFC 3339"),
        pytest.param("9" * 10_000, "not an RFC 3339", id="long text"),
        (1_795_548_834, "cannot be"),
        (None, "cannot be"),
    ],
)
def test_what_is_no_instant_is_refused(written: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_instant(written)
    assert len(str(caught.value)) < 250


def test_the_ends_of_the_calendar_do_not_overflow() -> None:
    assert parse_instant("0001-01-01T00:00:00+23:59") < parse_instant("0001-01-01T00:00:00Z")
    assert parse_instant("9999-12-31T23:59:59-23:59") > parse_instant("9999-12-31T23:59:59Z")


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_written_instant_reads_back_and_sorts(moment: datetime) -> None:
    us = parse_instant(moment)
    assert parse_instant(format_instant(us)) == us
    assert len(format_instant(us)) == 27
