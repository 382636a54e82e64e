"""How the processes of Flux live and end: signals, supervision, recycling, reload."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.cli.conftest import Flux, Start, eventually, free_port


def workers(flux: Flux) -> list[dict[str, Any]]:
    found: Any = flux("worker", "list", "--json").json["workers"]
    return found  # type: ignore[no-any-return]


def state(flux: Flux, id: str) -> str:
    return str(flux("job", "show", id, "--json").json["state"])


def enqueue(flux: Flux, *args: str) -> str:
    return flux("job", "enqueue", *args, "--quiet").out.strip()


def get(port: str, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return int(answer.status)


def test_one_sigterm_lets_running_jobs_finish(flux: Flux, start: Start) -> None:
    worker = start("worker")
    worker.wait_for("takes jobs")
    # Long enough to be seen running on a busy machine too.
    id = enqueue(flux, "sleep", "seconds=3")
    eventually(lambda: state(flux, id) == "running")
    worker.signal()
    assert worker.end() == 0, worker.said
    assert state(flux, id) == "succeeded"


def test_past_the_grace_jobs_are_handed_back(flux: Flux, start: Start) -> None:
    worker = start("worker", FLUX_SHUTDOWN_GRACE="200ms")
    worker.wait_for("takes jobs")
    id = enqueue(flux, "sleep", "seconds=600")
    eventually(lambda: state(flux, id) == "running")
    worker.signal(signal.SIGINT)
    assert worker.end() == 0, worker.said
    assert state(flux, id) == "available"


def test_the_second_signal_is_immediate(flux: Flux, start: Start) -> None:
    worker = start("worker", FLUX_SHUTDOWN_GRACE="10m")
    worker.wait_for("takes jobs")
    id = enqueue(flux, "sleep", "seconds=600")
    eventually(lambda: state(flux, id) == "running")
    worker.signal()
    worker.wait_for("leaves")
    worker.signal()
    # Within what a test waits at most, far from the grace.
    assert worker.end() == 128 + signal.SIGTERM
    assert state(flux, id) == "available"


def test_up_serves_everything_and_stops_in_order(flux: Flux, start: Start) -> None:
    api, dashboard = free_port(), free_port()
    up = start("up", API_PORT=api, DASHBOARD_PORT=dashboard, FLUX_LOG_FORMAT="text")
    up.wait_for("listening on", 2)
    assert get(api, "/health") == 200
    assert get(dashboard, "/") == 200
    id = enqueue(flux, "echo", "a=1", "--delay", "300ms")
    assert flux("job", "wait", id, "--timeout", "60s").code == 0
    up.signal()
    assert up.end() == 0, up.said


def test_a_taken_port_is_said_before_anything_starts(flux: Flux, start: Start, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        api = start("api", API_PORT=port)
        assert api.end() == 1
    assert f"port {port}" in api.said
    assert "API_PORT" in api.said
    assert "Traceback" not in api.said


def test_a_crashed_worker_process_is_replaced_and_all_stop_together(flux: Flux, start: Start) -> None:
    parent = start("worker", "--processes", "2", "--concurrency", "1")
    parent.wait_for("takes jobs", 2)
    first = {worker["pid"] for worker in workers(flux)}
    assert len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    parent.wait_for("another one starts")
    parent.wait_for("takes jobs", 3)
    parent.signal()
    assert parent.end() == 0, parent.said
    eventually(
        lambda: not any(worker["pid"] in first for worker in workers(flux) if worker["pid"] != min(first))
    )


def test_workers_do_not_outlive_their_supervisor(flux: Flux, start: Start) -> None:
    parent = start("worker", "--processes", "2")
    parent.wait_for("takes jobs", 2)
    parent.signal(signal.SIGKILL)
    parent.end()
    eventually(lambda: workers(flux) == [])


def test_a_worker_starts_anew_after_its_jobs_and_loses_none(flux: Flux, start: Start) -> None:
    worker = start("worker", "--max-jobs", "3", "--concurrency", "1")
    worker.wait_for("takes jobs")
    ids = [enqueue(flux, "echo", f"n={number}") for number in range(7)]
    assert [flux("job", "wait", id, "--timeout", "60s").code for id in ids] == [0] * 7
    worker.wait_for("starting anew", 2)
    worker.wait_for("takes jobs", 3)
    assert {process["pid"] for process in workers(flux)} == {worker.pid}


def test_a_drained_worker_leaves(flux: Flux, start: Start) -> None:
    worker = start("worker")
    worker.wait_for("takes jobs")
    (alive,) = workers(flux)
    assert flux("worker", "drain").code == 2
    assert flux("worker", "drain", "nobody").code == 1
    assert flux("worker", "drain", alive["id"], "--wait", "--timeout", "60s").code == 0
    assert worker.end() == 0
    assert workers(flux) == []


def test_dev_may_have_several_worker_processes(flux: Flux, start: Start) -> None:
    args = ("--processes", "2", "--concurrency", "3", "--no-reload")
    dev = start("dev", *args, API_PORT=free_port(), DASHBOARD_PORT=free_port())
    dev.wait_for("takes jobs", 2)
    found = {worker["pid"]: worker["slots"] for worker in workers(flux)}
    assert list(found.values()) == [3, 3]
    assert dev.pid not in found
    id = enqueue(flux, "sleep", "seconds=1")
    eventually(lambda: state(flux, id) == "running")
    dev.signal()
    assert dev.end() == 0, dev.said
    assert state(flux, id) == "succeeded"
    assert workers(flux) == []


def test_dev_reloads_its_worker_processes(flux: Flux, home: Path, start: Start) -> None:
    code = "from flux import Flux\nflux = Flux()\n@flux.job()\nasync def answer() -> int:\n    return {}\n"
    app = home / "app.py"
    app.write_text(code.format(1))
    dev = start("dev", "app:flux", "--processes", "2", API_PORT=free_port(), DASHBOARD_PORT=free_port())
    dev.wait_for("takes jobs", 2)
    first = {worker["pid"] for worker in workers(flux)}
    app.write_text(code.format(22))
    dev.wait_for("takes jobs", 4)
    assert first.isdisjoint(worker["pid"] for worker in workers(flux))
    assert flux("job", "enqueue", "answer", "--wait", "--json", "--wait-timeout", "60s").json["result"] == 22
    dev.signal()
    assert dev.end() == 0, dev.said


def test_dev_starts_again_when_code_changes(flux: Flux, home: Path, start: Start) -> None:
    code = "from flux import Flux\nflux = Flux()\n@flux.job()\nasync def answer() -> int:\n    return {}\n"
    app = home / "app.py"
    app.write_text(code.format(1))
    dev = start("dev", "app:flux", API_PORT=free_port(), DASHBOARD_PORT=free_port())
    dev.wait_for("Flux 0.")
    assert "answer (app:flux)" in dev.said
    dev.wait_for("takes jobs")
    assert flux("job", "enqueue", "answer", "--wait", "--json", "--wait-timeout", "60s").json["result"] == 1
    time.sleep(0.5)
    app.write_text("flux = = 2\n")
    dev.wait_for("starts again on the next change")
    app.write_text(code.format(22))
    dev.wait_for("takes jobs", 2)
    assert flux("job", "enqueue", "answer", "--wait", "--json", "--wait-timeout", "60s").json["result"] == 22
    dev.signal()
    assert dev.end() == 0, dev.said
