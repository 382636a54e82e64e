"""A few dozen lives on a real PostgreSQL. ``python -m tests.simulation --postgres --lives 5000`` lives through more."""

from __future__ import annotations

import os

import pytest

from tests.simulation.audit import Violation
from tests.simulation.on_postgres import PostgresGround
from tests.simulation.test_mutants import forgetting
from tests.simulation.world import STRICT, World

FIRST = int(os.environ.get("FLUX_SIMULATION_SEED", "1"))
LIVES = 40


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 2))
def test_a_world_full_of_bad_luck_on_postgres(database_url: str, seed: int) -> None:
    outcome = World(seed, LIVES, ground=PostgresGround(database_url)).run()
    assert outcome.lives > 10
    assert outcome.runs > 10


def test_a_job_never_runs_in_two_processes_at_once_on_postgres(database_url: str) -> None:
    World(FIRST, LIVES, climate=STRICT, ground=PostgresGround(database_url)).run()


def test_a_store_that_forgets_is_found_on_postgres(database_url: str) -> None:
    """The auditor can fail here too; what else it sees is shown in ``test_mutants``."""
    with pytest.raises(Violation, match="accepted and lost"):
        World(FIRST, LIVES, wrap=forgetting(every=3), ground=PostgresGround(database_url)).run()
