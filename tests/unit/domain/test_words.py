"""Numbers of things, in words."""

from __future__ import annotations

import pytest

from flux.domain.words import agree, plural


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 jobs are"), (1, "1 job is"), (2, "2 jobs are"), (1204, "1,204 jobs are")]
)
def test_one_is_one_and_all_else_are_many(count: int, said: str) -> None:
    assert f"{plural(count, 'job')} {agree(count, 'is', 'are')}" == said
