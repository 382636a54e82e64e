"""docs/guide.md does what it says: its blocks, one after the other, are a program that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guide.md").read_text()


def test_the_guide_is_a_program(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)
    program = "\n\n".join(block for block in blocks if "__main__" not in block)
    (main,) = [block for block in blocks if "__main__" in block]
    script = tmp_path / "guide.py"
    script.write_text(f"{program}\n\n{main}\n    asyncio.run(test_sends())\n    print('tested')\n")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["{'sent': 'a@b.c'}", "tested"]
