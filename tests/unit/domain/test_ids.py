from __future__ import annotations

from itertools import pairwise
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.domain.ids import IdSource, is_id, new_claim_id, time_of

NOW = 1_795_548_834_123_456


def test_an_id_is_a_canonical_uuid_of_version_7() -> None:
    id = IdSource(lambda: NOW).new()
    parsed = UUID(id)
    assert str(parsed) == id
    assert parsed.version == 7
    assert parsed.variant == "specified in RFC 4122"
    assert parsed.int >> 80 == NOW // 1000
    assert is_id(id)


@given(st.integers(0, 2**47 * 1000))
def test_an_id_tells_its_time_to_the_microsecond(now: int) -> None:
    # The very first tick of 1970 is taken by "no id yet".
    assert time_of(IdSource(lambda: now).new()) == max(now, 1)


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=50), st.randoms(use_true_random=False))
def test_ids_increase_whatever_the_clock_does(times: list[int], random: Random) -> None:
    clock = iter(times)
    source = IdSource(lambda: next(clock), random)
    ids = [
        id for count, _ in enumerate(times) for id in (source.many(count) if count % 3 else [source.new()])
    ]
    assert len(ids) == sum(count if count % 3 else 1 for count in range(len(times)))
    assert all(earlier < later for earlier, later in pairwise(ids))
    assert all(UUID(id).version == 7 for id in ids)


def test_many_ids_of_one_microsecond_increase_and_stay_close() -> None:
    source = IdSource(lambda: NOW)
    ids = [source.new() for _ in range(20_000)]
    assert all(earlier < later for earlier, later in pairwise(ids))
    assert NOW <= time_of(ids[-1]) <= NOW + 5_000


def test_two_sources_give_different_ids_and_one_seed_the_same() -> None:
    assert IdSource(lambda: NOW).new() != IdSource(lambda: NOW).new()
    assert IdSource(lambda: NOW, Random(1)).new() == IdSource(lambda: NOW, Random(1)).new()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "019ab7a0-0000-7000-8000-00000000000",
        "019AB7A0-0000-7000-8000-000000000000",
        "019ab7a000007000800000000000000",
        "{019ab7a0-0000-7000-8000-000000000000}",
        "019ab7a0-0000-7000-8000-000000000000\n",
        "019ab7a0-0000-7000-8000-00000000000g",
    ],
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_id(text)
    with pytest.raises(ValueError, match="is not a UUIDv7"):
        time_of(text)


def test_only_version_7_has_a_time() -> None:
    random_uuid = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
    assert is_id(random_uuid)
    with pytest.raises(ValueError, match="is not a UUIDv7"):
        time_of(random_uuid)


@given(st.randoms(use_true_random=False))
def test_claim_ids_are_positive_and_fit_a_bigint(random: Random) -> None:
    assert 0 < new_claim_id(random) < 2**63
