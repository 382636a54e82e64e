"""A script that ends without closing anything ends quietly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from flux import Flux

flux = Flux("sqlite:///{path}")


@flux.job
def nothing() -> None: ...


print(nothing.enqueue_sync().id)
"""


def test_a_script_that_never_closes_leaves_no_traceback(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=tmp_path / "flux.db"))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.strip()) == 36
