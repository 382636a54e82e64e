"""`make sqlc-generate`: what is committed is what the `.sql` files say, and what is wrong in them is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.sqlc.sources import PROJECT


def check(project: Path, database_url: str) -> subprocess.CompletedProcess[str]:
    """Run it on a project, without writing anything."""
    environment = os.environ | {"DATABASE_URL": database_url, "PYTHONPATH": str(project / "src")}
    command = [sys.executable, "-m", "scripts.sqlc", "--check"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy, to be spoiled."""
    for part in ("src", "scripts", "docs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / part, tmp_path / part, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")


def line_of(file: Path, text: str) -> int:
    return file.read_text("utf-8").partition(text)[0].count("\n") + 1


def test_what_is_committed_is_what_the_statements_say(empty_database_url: str) -> None:
    done = check(PROJECT, empty_database_url)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_statement_that_the_database_refuses_is_named(project: Path, empty_database_url: str) -> None:
    reads = project / "src/flux/stores/postgres/queries/reads.sql"
    spoil(reads, "coalesce(s.next_job_id, i.job_id)", "coalesce(s.next_job,\n    i.job_id)")
    prune = project / "src/flux/stores/postgres/queries/prune.sql"
    spoil(prune, "LIMIT @limit;", "LIMIT @limit FOR;")
    done = check(project, empty_database_url)
    assert done.returncode == 1
    assert (
        f"queries/reads.sql:{line_of(reads, 's.next_job,')}: key_holder: column s.next_job does not exist"
        in done.stderr
    )
    assert f"queries/prune.sql:{line_of(prune, 'LIMIT @limit FOR')}: aged: syntax error" in done.stderr


def test_a_statement_that_sqlite_refuses_is_named(project: Path, empty_database_url: str) -> None:
    insert = project / "src/flux/stores/sqlite/queries/insert.sql"
    spoil(insert, "INSERT OR IGNORE INTO queues (namespace, name)", "INSERT INTO queues (namespace, title)")
    done = check(project, empty_database_url)
    assert done.returncode == 1
    line = line_of(insert, "-- name: insert_queues")
    assert f"sqlite/queries/insert.sql:{line}: insert_queues: table queues has no column named title" in (
        done.stderr
    )


def test_a_change_that_was_not_generated_is_shown(project: Path, empty_database_url: str) -> None:
    reads = project / "src/flux/stores/postgres/queries/reads.sql"
    spoil(reads, "SELECT id, state FROM flux.live", "SELECT id, state, attempt FROM flux.live")
    spoil(reads, "SELECT id, state FROM flux.done", "SELECT id, state, attempt FROM flux.done")
    up = project / "src/flux/stores/postgres/migrations/0001_core.up.sql"
    spoil(up, "CREATE INDEX live_due ON flux.live (namespace, ", "CREATE INDEX live_due ON flux.live (")
    done = check(project, empty_database_url)
    assert done.returncode == 1
    assert '+    "states": Binding(' in done.stdout
    assert '"attempt": int' in done.stdout
    assert "-| `live_due` | `(namespace, run_at, id)" in done.stdout
    assert "+| `live_due` | `(run_at, id)" in done.stdout


def test_a_migration_that_does_not_go_back_is_refused(project: Path, empty_database_url: str) -> None:
    down = project / "src/flux/stores/postgres/migrations/0001_core.down.sql"
    spoil(down, "DROP FUNCTION flux.settled_batch();\n", "")
    done = check(project, empty_database_url)
    assert done.returncode == 1
    assert "0001_core.down.sql does not undo its .up.sql" in done.stderr
    assert "flux.settled_batch()" in done.stderr


def test_an_index_without_a_reason_is_refused(project: Path, empty_database_url: str) -> None:
    up = project / "src/flux/stores/postgres/migrations/0001_core.up.sql"
    spoil(up, "-- What is due, oldest first, and when the next is.\n", "\n")
    done = check(project, empty_database_url)
    assert done.returncode == 1
    place = f"0001_core.up.sql:{line_of(up, 'CREATE INDEX live_due')}"
    assert f"{place}: no comment above live_due says why it is there" in done.stderr
