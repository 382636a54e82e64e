"""Numbers and times as people read them, and JSON that stays text."""

import pytest

from flux.dashboard.words import coarse, coloured, count, moment, plural, pretty, said, short_count, span

S = 1_000_000


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "about 10,000"),
        (12_345, "about 12,300"),
        (1_234_567, "about 1,230,000"),
    ],
)
def test_counts_are_exact_below_ten_thousand(n: int, text: str) -> None:
    assert count(n) == text


def test_short_counts() -> None:
    assert [short_count(n) for n in (9_999, 10_000, 1_500_000)] == ["9,999", "~10 k", "~1.5 M"]
    assert plural(1, "job") == "1 job"
    assert plural(20_000, "job") == "about 20,000 jobs"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 ms"), (15, "15 µs"), (340_000, "340 ms"), (999_900, "1 s"), (2_400_000, "2.4 s"), (42 * S, "42 s"),
        (190 * S, "3 min 10 s"), (7_500 * S, "2 h 5 min"), (50 * 3_600 * S, "2 d 2 h"), (90 * 86_400 * S, "90 d"),
    ],
)  # fmt: skip
def test_spans(us: int, text: str) -> None:
    assert span(us) == text


def test_moments_look_forward_and_back() -> None:
    assert said(10 * S, 15 * S, "ago") == "5 s ago"
    assert said(15 * S, 10 * S, "in") == "in 5 s"
    assert said(15 * S, 16 * S, "in") == "now"
    assert said(20 * S, 10 * S, "ago") == "in 10 s"  # a clock that differs from the store's
    assert said(0, 61 * S, "for") == coarse(61 * S) == "1 min 1 s"


def test_a_streamed_moment_has_no_words_so_that_only_data_changes_it() -> None:
    assert moment(10 * S, None).endswith("></time>")
    assert "5 s ago" in moment(10 * S, 15 * S)
    assert "–" in moment(None, 0)


def test_json_is_escaped_whatever_it_holds() -> None:
    text = str(coloured(b'{"<script>": "</span><img src=x>", "n": -1.5e3, "t": true}'))
    assert "<script>" not in text
    assert "<img" not in text
    assert '<span class="j-num">-1.5e3</span>' in text
    assert str(coloured(b"<not json>")) == "&lt;not json&gt;"
    assert pretty(None) == ""
