"""The server: its port, its shutdown, and what only real sockets show."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from flux.api.server import ApiServer, CannotListen, serve
from flux.domain.job import Job
from tests.integration.api.conftest import JOBS, MAX_PAYLOAD, Rest, problem

JSON = {"content-type": "application/json"}


async def test_a_taken_port_is_said(rest: Rest) -> None:
    async with ApiServer(rest.app, "127.0.0.1", 0) as server:
        other = ApiServer(rest.app, "127.0.0.1", server.port)
        with pytest.raises(CannotListen, match=f"port {server.port} .* taken"):
            await other.start()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "\udcff"])
async def test_an_address_that_is_not_ours_is_said(rest: Rest, host: str) -> None:
    with pytest.raises(CannotListen):
        await ApiServer(rest.app, host, 0).start()


async def test_shutdown_ends_streams_and_waits_at_once(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = asyncio.Event()
    really_wait = rest.engine.jobs.wait

    async def wait_and_say_so(job_id: str, timeout: float) -> Job:
        waits.set()
        return await really_wait(job_id, timeout)

    monkeypatch.setattr(rest.engine.jobs, "wait", wait_and_say_so)
    server = ApiServer(rest.app, "127.0.0.1", 0, grace=120)
    await server.start()
    job = await rest.enqueue()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
        wait = asyncio.create_task(client.get(f"{JOBS}/{job['id']}/wait", params={"timeout": "2m"}))
        async with client.stream("GET", "/api/v1/events") as answer:
            chunks = answer.aiter_bytes()
            assert b"connected" in await anext(chunks)
            await waits.wait()
            async with asyncio.timeout(60):  # half of what each of them would take by itself
                await server.stop()
                assert [chunk async for chunk in chunks] == []
                assert (await wait).status_code == 202


async def test_serve_ends_when_cancelled(rest: Rest) -> None:
    task = asyncio.create_task(serve(rest.app, "127.0.0.1", 0))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 60)


@pytest.mark.parametrize("size", [MAX_PAYLOAD + 70_000, 3_000_000, 40_000_000])
async def test_a_body_past_the_limit_is_refused_and_the_sender_sees_it(served: Rest, size: int) -> None:
    body = b'{"type":"x","payload":"' + b"a" * size + b'"}'
    problem(await served.client.post(JOBS, content=body, headers=JSON), 413)

    async def chunks() -> object:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    problem(await served.client.post(JOBS, content=chunks(), headers=JSON), 413)  # type: ignore[arg-type]
    assert (await served.client.post(JOBS, json={"type": "x"})).status_code == 201


async def raw(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await writer.wait_closed()
    return answer


async def test_head_requests_and_pipelines_get_whole_answers(served: Rest) -> None:
    port = served.client.base_url.port
    assert port is not None
    request = b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 2
    request += b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await raw(port, request)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.endswith(b'{"status":"ok","detail":"The process answers."}')
    answer = await raw(port, b"HEAD /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")


async def test_expect_continue(served: Rest) -> None:
    port = served.client.base_url.port
    assert port is not None
    body = b'{"type":"x"}'
    head = (
        f"POST {JOBS} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((head % len(body)).encode())
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 201 ")
    writer.close()
    await writer.wait_closed()
    # What is too large is refused before the client has sent any of it.
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write((head % 10_000_000).encode())
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


async def test_what_is_no_http_is_refused(served: Rest) -> None:
    port = served.client.base_url.port
    assert port is not None
    assert (await raw(port, b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_nothing_is_shared_with_other_origins(served: Rest) -> None:
    answer = await served.client.get("/health", headers={"Origin": "https://example.com"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_streams_head_does_not_wait_for_its_first_event() -> None:
    head_is_there = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await head_is_there.wait()
            await send({"type": "http.response.body", "body": b"late"})

    async with ApiServer(slow, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        head_is_there.set()
        assert b"late" in await reader.read()
        writer.close()
        await writer.wait_closed()
