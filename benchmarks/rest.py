"""Single enqueue over REST: requests a second from 32 kept-alive connections, the commit before each answer.

The server is ``flux api`` in a process of its own; the load is raw HTTP/1.1 over asyncio, so that the client costs as
little as it can.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import harness

JOB = b'{"type":"noop","payload":{"n":1}}'


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    head = f"POST /api/v1{path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


SINGLE = post("/jobs", JOB)


def batch(jobs: int) -> bytes:
    """So many jobs in one request."""
    return post("/jobs/batch", b'{"jobs":[' + b",".join([JOB] * jobs) + b"]}")


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def connection(port: int, requests: int, waits: list[float], request: bytes) -> None:
    """One client: a request after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(requests):
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 201"):
            raise RuntimeError(f"the server answered {head[:100]!r}")
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
        waits.append(time.perf_counter() - begun)
    writer.close()


async def load(port: int, total: int, connections: int, request: bytes = SINGLE) -> tuple[float, list[float]]:
    """Requests a second, and each one's time."""
    waits: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(
        *(connection(port, total // connections, waits, request) for _ in range(connections))
    )
    return len(waits) / (time.perf_counter() - begun), waits


def main(total: int = 20_000, connections: int = 32) -> float:
    """One round, after a warm-up."""
    with harness.database() as path:
        port = free_port()
        environment = os.environ | {"DATABASE_URL": f"sqlite:///{path}", "API_PORT": str(port)}
        flux = Path(sys.executable).with_name("flux")
        server = subprocess.Popen([str(flux), "api"], env=environment, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            harness.run(load(port, 2_000, connections))
            speed, _ = harness.run(load(port, total, connections))
            return speed
        finally:
            server.terminate()
            server.wait()


def wait_for(port: int) -> None:
    """Return when somebody listens there."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


if __name__ == "__main__":
    print(f"{main():,.0f} requests/s")
