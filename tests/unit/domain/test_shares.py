"""Which queues a worker serves, as people write it."""

from __future__ import annotations

import pytest

from flux.domain.shares import QueueShares, parse_queues, shares_of


@pytest.mark.parametrize(
    ("text", "queues", "every"),
    [
        ("", {}, True),
        ("  ", {}, True),
        ("*", {}, True),
        ("default", {"default": None}, False),
        ("default,email:5,reports", {"default": None, "email": 5, "reports": None}, False),
        (" default , email:5 ", {"default": None, "email": 5}, False),
        ("*,email:2", {"email": 2}, True),
        ("eu:mail:*", {"eu:mail": None}, False),
        ("mail:*", {"mail": None}, False),
        ("eu:mail:3", {"eu:mail": 3}, False),
    ],
)
def test_reads_what_people_write(text: str, queues: dict[str, int | None], every: bool) -> None:
    assert parse_queues(text) == QueueShares(queues, every)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,,b", "empty name"),
        ("a,", "empty name"),
        ("email:0", "at least one"),
        ("email:-2", "at least one"),
        ("*:5", "all other queues"),
        ("default,email:x", "gives email 'x' slots, which is no number"),
        ("eu:mail", "a queue whose own name has a colon ends in"),
        ("email:", "gives email '' slots"),
        ("email:1.5", "is no number"),
        ("a,a:2", "names a twice"),
        ("-x", "no queue's name"),
        ("two words", "no queue's name"),
    ],
)
def test_refuses_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_queues(text)


@pytest.mark.parametrize("text", ["*", "default", "*,email:2", "default,email:5", "eu:mail:*,eu:sms:2"])
def test_its_text_reads_back(text: str) -> None:
    assert str(parse_queues(text)) == text
    assert parse_queues(str(parse_queues(text))) == parse_queues(text)


@pytest.mark.parametrize(
    ("text", "queue", "served"),
    [
        ("*", "a", True),
        ("", "a", True),
        ("*,b:2", "a", True),
        ("b, a:5", "a", True),
        ("a:b:5", "a:b", True),
        ("a:b:*", "a:b", True),
        ("a:b:*", "a", False),
        ("a:b:5", "a", False),
        ("ab,b", "a", False),
        ("an unreadable one", "a", True),
    ],
)
def test_which_queues_are_served(text: str, queue: str, served: bool) -> None:
    assert shares_of(text).serves(queue) is served
