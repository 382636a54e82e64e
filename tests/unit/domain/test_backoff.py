from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.domain.backoff import DEFAULT, Backoff, BackoffError
from flux.domain.duration import HOUR, LONGEST, MINUTE, SECOND, format_duration

MIDDLE = 0.5  # the random number that leaves a delay as it is
ALMOST_ONE = 1 - 2**-53


def delays(backoff: Backoff, attempts: int, random: float = MIDDLE) -> list[int]:
    return [backoff.delay(attempt, random) // SECOND for attempt in range(1, attempts + 1)]


def test_the_default_doubles_up_to_an_hour() -> None:
    assert delays(DEFAULT, 14) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    assert Backoff.parse({"kind": "exponential", "base": "1s", "max": "1h", "jitter": 0.2}) == DEFAULT
    assert Backoff.parse({}) == DEFAULT


def test_the_other_kinds() -> None:
    assert delays(Backoff.parse({"kind": "linear", "base": "10s", "max": "25s"}), 4) == [10, 20, 25, 25]
    assert delays(Backoff.parse({"kind": "constant", "base": "10s"}), 3, ALMOST_ONE) == [10, 10, 10]
    assert delays(Backoff.parse(["10s", "1m", 600]), 5, ALMOST_ONE) == [10, 60, 600, 600, 600]
    assert delays(Backoff.parse({"kind": "list", "delays": ["0s"]}), 2) == [0, 0]
    assert delays(Backoff.parse({"base": "1s", "factor": 1, "jitter": 0}), 3) == [1, 1, 1]
    assert delays(Backoff.parse({"base": "1s", "factor": 3}), 3) == [1, 3, 9]


def test_a_base_longer_than_an_hour_needs_no_max() -> None:
    assert Backoff.parse({"kind": "linear", "base": "2h"}).max == 2 * HOUR


def test_jitter_spreads_evenly_to_both_sides() -> None:
    backoff = Backoff.parse({"kind": "constant", "base": "10s", "jitter": 0.2})
    assert backoff.delay(1, 0.0) == 8 * SECOND
    assert backoff.delay(1, 0.5) == 10 * SECOND
    assert backoff.delay(1, 0.75) == 11 * SECOND


def test_jitter_stays_below_max_and_does_not_heap_up_there() -> None:
    assert DEFAULT.delay(50, 0.75) == 3240 * SECOND  # would be 3960 s: mirrored at 3600 s
    assert len({DEFAULT.delay(50, step / 100) for step in range(100)}) > 50


def test_an_attempt_far_out_does_not_overflow() -> None:
    for value in ({"factor": 1000}, {"factor": 1.0000001}, {"factor": 1}, {"kind": "linear"}, ["1s"]):
        assert 0 < Backoff.parse(value).delay(10**6, ALMOST_ONE) <= HOUR


def test_attempts_start_at_one() -> None:
    with pytest.raises(ValueError, match="numbered from 1"):
        DEFAULT.delay(0, MIDDLE)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "backoff"),
        ("10s", "backoff"),
        (5, "backoff"),
        ({"kind": "quadratic"}, "backoff.kind"),
        ({"kind": None}, "backoff.kind"),
        ({"kind": ["list"]}, "backoff.kind"),
        ({"base": "0s"}, "backoff.base"),
        ({"base": "-1s"}, "backoff.base"),
        ({"base": None}, "backoff.base"),
        ({"base": "soon"}, "backoff.base"),
        ({"base": True}, "backoff.base"),
        ({"base": "2s", "max": "1s"}, "backoff.max"),
        ({"max": "x"}, "backoff.max"),
        ({"jitter": 1.1}, "backoff.jitter"),
        ({"jitter": -0.1}, "backoff.jitter"),
        ({"jitter": float("nan")}, "backoff.jitter"),
        ({"jitter": True}, "backoff.jitter"),
        ({"jitter": "0.2"}, "backoff.jitter"),
        ({"factor": 0.5}, "backoff.factor"),
        ({"factor": 10**400}, "backoff.factor"),
        ({"bse": "1s"}, "backoff.bse"),
        ({1: 2}, "backoff.1"),
        ({"kind": "constant", "max": "1h"}, "backoff.max"),
        ({"kind": "linear", "factor": 2}, "backoff.factor"),
        ({"kind": "list"}, "backoff.delays"),
        ({"kind": "list", "delays": "10s"}, "backoff.delays"),
        ({"kind": "list", "delays": {"a": 1}}, "backoff.delays"),
        ({"kind": "list", "delays": ["1s", "x"]}, "backoff.delays[1]"),
        ([], "backoff"),
        (["1s"] * 101, "backoff"),
        (["1s", "-1s"], "backoff[1]"),
        ([True], "backoff[0]"),
    ],
)
def test_nonsense_is_refused_by_the_name_of_its_field(value: Any, field: str) -> None:
    with pytest.raises(BackoffError) as caught:
        Backoff.parse(value)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


durations = st.integers(1, LONGEST // 2)
jitters = st.floats(0, 1)


@st.composite
def backoffs(draw: st.DrawFn) -> Backoff:
    kind = draw(st.sampled_from(["exponential", "linear", "constant", "list"]))
    value: dict[str, Any] = {"kind": kind, "jitter": draw(jitters)}
    if kind == "list":
        many = st.lists(st.integers(0, LONGEST), min_size=1, max_size=100)
        value["delays"] = [format_duration(delay) for delay in draw(many)]
        return Backoff.parse(value)
    base = draw(durations)
    value["base"] = format_duration(base)
    if kind != "constant":
        value["max"] = format_duration(base + draw(durations))
    if kind == "exponential":
        value["factor"] = draw(st.floats(1, 1000))
    return Backoff.parse(value)


@given(backoffs())
def test_json_reads_back(backoff: Backoff) -> None:
    assert Backoff.parse(backoff.to_json()) == backoff
    assert Backoff.parse(msgspec.json.decode(msgspec.json.encode(backoff.to_json()))) == backoff
    assert Backoff.parse(backoff) is backoff


def test_a_plain_list_stays_a_list() -> None:
    assert Backoff.parse([10, "1m"]).to_json() == ["10s", "1m"]
    assert Backoff.parse([10]).delays == (10 * SECOND,)
    assert Backoff.parse(["1m"]).delay(1, 0) == MINUTE


@given(backoffs(), st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded(backoff: Backoff, attempt: int, random: float) -> None:
    delay = backoff.delay(attempt, random)
    assert delay >= 0
    if backoff.kind in ("exponential", "linear"):
        assert delay <= backoff.max


@given(backoffs(), st.integers(1, 200))
def test_growing_kinds_never_shrink(backoff: Backoff, attempt: int) -> None:
    if backoff.kind != "list":
        assert backoff.delay(attempt, MIDDLE) <= backoff.delay(attempt + 1, MIDDLE)
