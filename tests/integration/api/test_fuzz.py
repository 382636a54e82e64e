"""Whatever is sent, the answer is never "unexpected error", and every refusal is a problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux.api.app import Api, create_app
from flux.config import Settings, build_engine

HEALTH = ("/health", "/metrics")
NEVER_ENDING = ("/api/v1/events", "/api/v1/jobs/{id}/wait")

words = st.sampled_from(
    ["", "0", "-1", "1", "500", "9" * 40, "x", "a/b", "..", "*", "\0", "\ud7ff", "é", "30s", "1h30m", "-5s", "true",
     "null", "NaN", "scheduled", "available", "dead", "2026-11-24T19:33:54Z", "9999-12-31T23:59:59Z",
     "0001-01-01T00:00:00Z", "0 3 * * *", "@daily", "Europe/Berlin", "AZNqPnscfD6aXi9LbY4KHA", "x" * 300,
     "' OR 1=1 --", "%", "_", "\\", "$.a", "payload.a", "type"]
)  # fmt: skip
texts = words | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars | st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@contextmanager
def running(path: Path) -> Iterator[tuple[asyncio.Runner, Api, httpx.AsyncClient]]:
    with asyncio.Runner() as runner:
        engine = build_engine(Settings(database_url=f"sqlite:///{path}/flux.db", max_payload=5000))
        runner.run(engine.open())

        async def build() -> tuple[Api, httpx.AsyncClient]:
            app = create_app(engine)
            return app, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://flux")

        app, client = runner.run(build())
        try:
            yield runner, app, client
        finally:
            runner.run(client.aclose())
            runner.run(app.stop())
            runner.run(engine.close())


def check(answer: httpx.Response, told: str) -> None:
    assert answer.status_code < 500 or told.startswith(HEALTH), f"{told}: {answer.text}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", told
        assert answer.json()["status"] == answer.status_code


@pytest.mark.slow
def test_nothing_is_unexpected(tmp_path: Path) -> None:
    with running(tmp_path) as (runner, app, client):
        document = runner.run(client.get("/openapi.json")).json()
        ids = [
            job["id"]
            for job in runner.run(
                client.post("/api/v1/jobs/batch", json={"jobs": [{"type": "x"}] * 5})
            ).json()["jobs"]
        ]
        schedule = {"name": "s", "type": "x", "every": "1h"}
        assert runner.run(client.post("/api/v1/schedules", json=schedule)).status_code == 201
        calls = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if path not in NEVER_ENDING
        ]
        schemas = document["components"]["schemas"]

        def body_for(operation: dict[str, Any]) -> st.SearchStrategy[bytes]:
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                return st.just(b"")
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            known = st.sampled_from([*schemas.get(name, {}).get("properties", {"cron": 0}), "nope"])
            example = content["example"]
            changed = st.dictionaries(known, values, max_size=3).map(lambda change: {**example, **change})
            bare = st.dictionaries(known, values, max_size=3)
            written = (changed | bare | values).map(lambda value: json.dumps(value).encode())
            return written | st.binary(max_size=20) | written.map(lambda text: text[:-1])

        @st.composite
        def requests(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, str]]:
            method, path, operation = draw(st.sampled_from(calls))
            for parameter in operation["parameters"]:
                if parameter["in"] == "path":
                    value = draw(st.sampled_from([*ids, "s", "default"]) | texts)
                    path = path.replace("{" + parameter["name"] + "}", quote(value, safe="") or "x")
            names = [
                p["name"] for p in operation["parameters"] if p["in"] == "query" and p["name"] != "follow"
            ]
            query = draw(
                st.lists(st.tuples(st.sampled_from([*names, "nope", "payload.a.b"]), texts), max_size=3)
            )
            if query and draw(st.booleans()):
                path += "?" + urlencode(query)
            kind = draw(st.sampled_from(["application/json"] * 8 + ["text/plain", ""]))
            return method.upper(), path, draw(body_for(operation)), {"content-type": kind}

        @settings(max_examples=250, suppress_health_check=list(HealthCheck), database=None)
        @given(requests())
        def attack(request: tuple[str, str, bytes, dict[str, str]]) -> None:
            method, path, body, headers = request
            answer = runner.run(client.request(method, path, content=body, headers=headers))
            check(answer, f"{method} {path} {body!r}")

        attack()
        # After all that it still works.
        assert runner.run(client.get("/health")).json()["status"] == "ok"
        assert app.engine.store is not None
