"""A wrong call is found by a type checker, before anything runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GOOD = ROOT / "tests" / "typing" / "good.py"
BAD = ROOT / "tests" / "typing" / "bad.py"


@pytest.fixture(scope="module")
def findings() -> dict[str, set[int]]:
    """The lines that mypy complains about, by file."""
    pytest.importorskip("mypy")
    command = [
        sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--no-pretty", "--no-error-summary",
        "--config-file", "pyproject.toml", str(GOOD), str(BAD),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=_environment(), check=False)
    found: dict[str, set[int]] = {"good.py": set(), "bad.py": set()}
    for name, line in re.findall(r"^\S*?([^/\s]+\.py):(\d+)(?::\d+)?: error:", done.stdout, re.MULTILINE):
        if name in found:
            found[name].add(int(line))
    assert found["bad.py"], done.stdout + done.stderr
    return found


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "MYPYPATH": str(ROOT / "src")}


def test_what_is_right_passes(findings: dict[str, set[int]]) -> None:
    lines = GOOD.read_text().splitlines()
    assert {line: lines[line - 1] for line in findings["good.py"]} == {}


def test_every_marked_mistake_is_found_and_nothing_else(findings: dict[str, set[int]]) -> None:
    lines = BAD.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if "  # error" in line}
    assert {lines[line - 1] for line in marked - findings["bad.py"]} == set()
    assert {lines[line - 1] for line in findings["bad.py"] - marked} == set()
