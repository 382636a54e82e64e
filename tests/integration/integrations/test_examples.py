"""The files in examples/ run as their first lines say."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.integration.places import clean_environment, free_port

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
PATIENCE = 60.0


def test_quickstart(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "quickstart.py"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'sent': 'a@b.c'}\n", "")


def test_fastapi_app(tmp_path: Path) -> None:
    port = free_port()
    command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", port, "fastapi_app:app"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, *command],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            until = time.monotonic() + PATIENCE
            while "Uvicorn running on" not in log.read_text():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            placed = client.post("/orders", json={"email": "a@b.c", "total": 12.5})
            assert placed.status_code == 202
            receipt = client.get(f"/orders/{placed.json()['job']}")
            assert receipt.json() == {"state": "succeeded", "attempt": 1}
            assert client.get("/orders/nothing").status_code == 404
            assert placed.json()["job"] in client.get("/flux/jobs").text
        server.terminate()
        # uvicorn ends by the signal that it got, once everything is closed.
        assert server.wait(PATIENCE) in (0, -15), log.read_text()
        assert "Application shutdown complete" in log.read_text()
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def test_a_stranger_to_the_frameworks_loads_none() -> None:
    code = (
        "import sys, flux, flux.integrations, flux.integrations.fastapi\n"
        "flux.Flux('sqlite:///x.db')\n"
        "print([name for name in ('fastapi', 'starlette', 'litestar', 'django', 'pytest') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
