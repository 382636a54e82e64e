from __future__ import annotations

import pytest

from flux.domain.cron import CronError, CronExpression


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "0 fields"),
        ("* * * *", "4 fields"),
        ("* * * * * * *", "7 fields"),
        ("60 * * * *", 'minute "60" is not a number from 0 to 59'),
        ("* 24 * * *", 'hour "24"'),
        ("* * 0 * *", 'day of month "0"'),
        ("* * * 13 *", 'month "13"'),
        ("* * * * 8", 'day of week "8"'),
        ("61 * * * * *", 'second "61"'),
        ("* * * FOO *", "JAN"),
        ("* * * * FOO", "SUN"),
        ("*/0 * * * *", "a step"),
        ("*/ * * * *", "a step"),
        ("*/99999999999999999999 * * * *", "a step"),
        ("*/90 * * * *", "from 1 to 60"),
        ("5-1 * * * *", "upwards"),
        ("1- * * * *", 'minute ""'),
        ("1,,2 * * * *", 'minute ""'),
        ("-5 * * * *", 'minute ""'),
        ("? * * * *", r'minute "\?"'),
        ("* * * * MON#6", "day of week"),
        ("* * * * L", "day of week"),
        ("* * LW * *", "day of month"),
        ("٣ * * * *", "minute"),
        ("@reboot", "not known"),
        ("@every 5m", "not known"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 30,31 FEB ?", "never fires"),
        pytest.param("1," * 10_000 + "1 * * * *", "at most 256", id="long text"),
    ],
)
def test_nonsense_is_refused_and_named(text: str, says: str) -> None:
    with pytest.raises(CronError, match=says):
        CronExpression.parse(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("@hourly", "0 * * * *"),
        ("@DAILY", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 jan *"),
        ("  0   0  *\t* * ", "0 0 0 * * *"),
        ("0 0 * * mon-fri", "0 0 * * 1-5"),
        ("0 0 * * 7", "0 0 * * SUN"),
        ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 ? * ?", "0 0 * * *"),
        ("0 */24 * * */7", "0 0 * * 0"),
        ("10/20 * * * *", "10,30,50 * * * *"),
        ("10-40/15 * * * *", "10,25,40 * * * *"),
        ("0 0 1-3,9 JAN-MAR,12 *", "0 0 1,2,3,9 1,2,3,12 *"),
    ],
)
def test_ways_to_write_the_same(text: str, same: str) -> None:
    first, second = CronExpression.parse(text), CronExpression.parse(same)
    assert [getattr(first, name) for name in first.__struct_fields__ if name != "text"] == [
        getattr(second, name) for name in second.__struct_fields__ if name != "text"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30 2 * * *", "at 02:30 every day"),
        ("* * * * *", "every minute"),
        ("* * * * * *", "every second"),
        ("*/15 * * * *", "every 15 minutes"),
        ("@hourly", "every hour"),
        ("5 * * * *", "every hour at minute 5"),
        ("0 9 * * MON-FRI", "at 09:00 on Monday to Friday"),
        ("0 9,17 * * 0,1", "at 09:00 and 17:00 on Monday and Sunday"),
        ("@monthly", "at 00:00 on day 1 of every month"),
        ("@yearly", "at 00:00 on day 1 of January"),
        ("0 12 1,15,L * *", "at 12:00 on day 1, day 15 and the last day of every month"),
        ("*/15 * * 6 *", "every 15 minutes every day in June"),
        ("*/15 * * * 1", "every 15 minutes on Monday"),
        ("0 0 1 * 1", "0 0 1 * 1"),
        ("0 0 * * MON#1", "0 0 * * MON#1"),
        ("1,2 * * * *", "1,2 * * * *"),
        ("*/7 3 * * *", "*/7 3 * * *"),
        ("*/5 * * * * *", "*/5 * * * * *"),
        ("0 0 1-9 * *", "0 0 1-9 * *"),
        ("*/7 * * * *", "*/7 * * * *"),
    ],
)
def test_short_ones_are_said_in_words(text: str, words: str) -> None:
    assert CronExpression.parse(text).describe() == words
