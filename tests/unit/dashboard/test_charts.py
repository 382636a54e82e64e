"""The charts of the overview say what their numbers are."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from flux.config import Settings, build_engine
from flux.dashboard.app import create_dashboard
from flux.domain.request import JobRequest


async def test_every_chart_has_a_unit(tmp_path: Path) -> None:
    engine = build_engine(Settings(database_url=f"sqlite:///{tmp_path}/flux.db"))
    await engine.open()
    await engine.jobs.submit(JobRequest(type="echo"))
    transport = httpx.ASGITransport(create_dashboard(engine))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = (await client.get("/")).text
    await engine.close()
    titles = re.findall(r'class="chart-title">([^<]+)<', page)
    # Seconds are written with each value.
    assert titles == ["Jobs ended, per minute", "Wait before start", "Depth, in jobs", "Time to run"]
