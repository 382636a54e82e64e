"""Health and metrics over REST."""

from __future__ import annotations

import asyncio
import re

import pytest

from flux.api import health
from flux.engine.ports import StoreHealth
from tests.integration.api.conftest import JOBS, Rest, echo, fail


async def test_all_is_well(rest: Rest) -> None:
    answer = await rest.client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], set(body["checks"])) == ("ok", {"db", "broker"})
    assert body["checks"]["db"]["status"] == body["checks"]["broker"]["status"] == "ok"
    for path in ("/health/db", "/health/redis", "/health/live", "/health/ready"):
        answer = await rest.client.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok"), path
    assert (await rest.client.get("/health/redis")).json()["configured"] is False


async def test_a_store_that_is_away_is_down(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> StoreHealth:
        return StoreHealth(ok=False, detail="the disk is full", durable=True)

    monkeypatch.setattr(rest.engine.store, "health", away)
    for path, status in (
        ("/health", 503),
        ("/health/db", 503),
        ("/health/ready", 503),
        ("/health/live", 200),
    ):
        answer = await rest.client.get(path)
        assert answer.status_code == status, path
    body = (await rest.client.get("/health")).json()
    assert body["status"] == "down"
    assert "full" in body["checks"]["db"]["detail"]


async def test_a_store_that_hangs_is_told_in_time(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> StoreHealth:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise
        raise AssertionError

    monkeypatch.setattr(rest.engine.store, "health", hangs)
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    async with asyncio.timeout(30):  # half of what the store would take
        answer = await rest.client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")


async def test_a_broker_that_is_away_only_degrades(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ill() -> str | None:
        return "connection refused"

    monkeypatch.setattr(rest.engine.broker, "health", ill)
    answer = await rest.client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"]["broker"] == {"status": "down", "detail": "connection refused"}


async def test_a_server_that_stops_is_not_ready(rest: Rest) -> None:
    await rest.app.stop()
    assert (await rest.client.get("/health/ready")).status_code == 503
    assert (await rest.client.get("/health/live")).status_code == 200


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found, f"{sample} is not in\n{text}"
    return float(found[1])


async def scrape(rest: Rest) -> str:
    rest.app.metrics._read_at = float("-inf")
    answer = await rest.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


async def test_metrics(rest: Rest) -> None:
    async with rest.running(echo, fail):
        for _ in range(2):
            await rest.final((await rest.enqueue(queue="q"))["id"])
        text = await scrape(rest)
        assert value(text, 'flux_jobs_total{outcome="succeeded",queue="q",type="echo"}') == 2
        await rest.final((await rest.enqueue(queue="q"))["id"])
        await rest.final((await rest.enqueue(type="fail", max_retries=0))["id"])
        text = await scrape(rest)
    assert value(text, 'flux_jobs_total{outcome="succeeded",queue="q",type="echo"}') == 3
    assert value(text, 'flux_jobs_failed_total{kind="exception",queue="default",type="fail"}') == 1
    assert value(text, 'flux_jobs_duration_seconds_count{queue="q",type="echo"}') == 3
    assert value(text, 'flux_jobs_duration_seconds_bucket{le="+Inf",queue="q",type="echo"}') == 3
    assert value(text, 'flux_jobs_wait_seconds_count{queue="q"}') == 3
    assert value(text, "flux_workers_active") == 1
    assert value(text, "flux_rescues_total") == 0
    assert value(text, "flux_reconciliations_total") == 0
    assert (
        value(text, 'flux_worker_slots{state="busy"}') + value(text, 'flux_worker_slots{state="free"}') == 10
    )
    assert value(text, 'flux_queue_depth{queue="q",state="available"}') == 0
    assert value(text, "flux_store_up") == 1
    assert value(text, "flux_scheduler_lag_seconds") < 60


async def test_words_of_strangers_make_no_series(rest: Rest) -> None:
    for i in range(3):
        job = await rest.enqueue(type=f"made-up-{i}")
        await rest.client.delete(f"{JOBS}/{job['id']}")
    text = await scrape(rest)
    assert "made-up" not in text
    assert value(text, 'flux_jobs_total{outcome="cancelled",queue="default",type="_other"}') == 3


async def test_metrics_of_two_applications_are_their_own(rest: Rest) -> None:
    from flux.api.app import create_app

    other = create_app(rest.engine)
    assert await other.metrics.text()
    assert await scrape(rest)
