"""`flux worker --max-memory`: a handler that leaks costs a new start now and then, and no job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.cli.conftest import Flux, Start, eventually

LEAK = """from flux import Flux
flux = Flux()
held = []
@flux.job
def leak() -> int:
    held.append(b"x" * 40_000_000)
    return len(held)
"""


def test_a_worker_that_leaks_starts_anew_and_loses_nothing(flux: Flux, home: Path, start: Start) -> None:
    (home / "leaks.py").write_text(LEAK)
    worker = start("worker", "leaks:flux", "--max-memory", "200MB", "--concurrency", "2")
    worker.wait_for("takes jobs")
    for recycled in (1, 2):
        # More than it may have, and some that come while it is about to leave.
        for _ in range(8):
            flux("job", "enqueue", "leak", "--quiet")
        worker.wait_for("and is recycled", recycled)

    def jobs() -> list[dict[str, Any]]:
        found: Any = flux("job", "list", "--full", "--json").json["jobs"]
        return found  # type: ignore[no-any-return]

    eventually(lambda: all(job["state"] == "succeeded" for job in jobs()), lambda: worker.said)
    assert [job["attempt"] for job in jobs()] == [1] * 16
    assert max(job["result"] for job in jobs()) < 16, "no process has held all of it"
    worker.wait_for("takes jobs", 3)
    worker.signal()
    assert worker.end() == 0, worker.said
