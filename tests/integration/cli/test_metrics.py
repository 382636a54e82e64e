"""`flux worker` and `flux scheduler` say how they are and what they count, on a port of their own when asked to."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import urllib.error
import urllib.request

from tests.integration.cli.conftest import Flux, Process, Start, eventually, free_port


def get(port: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def value(port: str, sample: str) -> float:
    status, text = get(port, "/metrics")
    assert status == 200
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1.0


def listens(process: Process) -> None:
    process.wait_for("listening on")


def neighbours() -> tuple[str, str]:
    """Two ports side by side that nobody uses now."""
    while True:
        port = int(free_port())
        with socket.socket() as probe, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", port + 1))
            return str(port), str(port + 1)


def test_a_worker_and_a_scheduler_serve_what_they_count(flux: Flux, start: Start) -> None:
    mine, leaders = free_port(), free_port()
    lost = start("worker", FLUX_LEASE="1s")
    lost.wait_for("takes jobs")
    id = flux("job", "enqueue", "sleep", "seconds=0.1", "--delay", "0s", "--quiet").out.strip()
    assert flux("job", "wait", id, "--timeout", "60s").code == 0
    stuck = flux("job", "enqueue", "sleep", "seconds=600", "--quiet").out.strip()
    eventually(lambda: flux("job", "show", stuck, "--json").json["state"] == "running")
    lost.signal(signal.SIGKILL)
    lost.end()

    scheduler = start("scheduler", "--metrics-port", leaders, FLUX_LEASE="1s")
    listens(scheduler)
    eventually(lambda: value(leaders, "flux_rescues_total") == 1)
    worker = start("worker", FLUX_METRICS_PORT=mine, FLUX_SHUTDOWN_GRACE="10m")
    listens(worker)
    eventually(lambda: get(mine, "/health/ready")[0] == 200, lambda: get(mine, "/health/ready")[1])
    # What the store knows is the same everywhere; what was put right belongs to the process that did it.
    eventually(lambda: value(mine, 'flux_jobs_total{outcome="succeeded",queue="default",type="sleep"}') == 1)
    assert value(mine, "flux_rescues_total") == 0
    for port in (mine, leaders):
        assert get(port, "/health/live")[0] == 200
        assert get(port, "/health")[0] == 200
        status, text = get(port, "/api/v1/jobs")
        assert (status, json.loads(text)["detail"].endswith("/metrics")) == (404, True)

    eventually(lambda: flux("job", "show", stuck, "--json").json["state"] == "running")
    worker.signal()
    eventually(lambda: get(mine, "/health/ready")[0] == 503)
    assert get(mine, "/health/live")[0] == 200
    worker.signal()
    assert worker.end() == 128 + signal.SIGTERM
    scheduler.signal()
    assert scheduler.end() == 0, scheduler.said


def test_processes_of_a_worker_have_ports_side_by_side(flux: Flux, start: Start) -> None:
    port, following = neighbours()
    worker = start("worker", "--processes", "2", "--metrics-port", port)
    worker.wait_for("listening on", 2)
    eventually(lambda: get(port, "/health/ready")[0] == 200)
    eventually(lambda: get(following, "/health/ready")[0] == 200)
    worker.signal()
    assert worker.end() == 0, worker.said


def test_a_drained_worker_leaves_though_it_serves_metrics(flux: Flux, start: Start) -> None:
    worker = start("worker", "--metrics-port", free_port())
    worker.wait_for("takes jobs")
    assert flux("worker", "drain", "--all", "--wait", "--timeout", "60s").code == 0
    assert worker.end() == 0, worker.said


def test_without_a_port_nothing_listens_and_a_taken_one_is_said(flux: Flux, start: Start) -> None:
    port = free_port()
    quiet = start("worker")
    quiet.wait_for("takes jobs")
    assert "listening on" not in quiet.said
    first = start("scheduler", "--metrics-port", port)
    listens(first)
    second = start("scheduler", "--metrics-port", port)
    assert second.end() == 1
    assert "FLUX_METRICS_PORT chooses another" in second.said
