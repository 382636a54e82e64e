"""A few thousand lives in bad luck. ``python -m tests.simulation --lives 1000000`` lives through more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import STRICT, Climate, World

ROOT = Path(__file__).parents[2]
FIRST = int(os.environ.get("FLUX_SIMULATION_SEED", "1"))
"""Set it to live through other worlds than usual."""


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 14))
def test_a_world_full_of_bad_luck(seed: int) -> None:
    outcome = World(seed, lives=250).run()
    assert outcome.lives > 100
    assert outcome.runs > 100


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 4))
def test_a_job_never_runs_in_two_processes_at_once(seed: int) -> None:
    """Where nothing stops a process and no clock steps, a worker fences itself before its jobs are taken from it."""
    assert STRICT.exclusive
    World(seed, lives=250, climate=STRICT).run()


def test_a_calm_world_needs_one_attempt_for_each_job() -> None:
    climate = Climate(crashes=False, pauses=False, jumps=False, faults=False, lossy_broker=False)
    outcome = World(FIRST, lives=250, climate=climate).run()
    assert outcome.kills == 0


def test_the_same_seed_is_the_same_world_wherever_it_runs() -> None:
    """Other hashes, another process: another history would mean that a failure cannot be repeated."""
    last_lines = []
    for hash_seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "7", "--size", "60"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert len(told) > 500, "the whole history is told"
        last_lines.append(told[-1])
    assert last_lines[0] == last_lines[1]
    assert "digest" in last_lines[0]
