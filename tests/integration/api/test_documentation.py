"""The OpenAPI document says what the application does, and the page needs nobody else."""

from __future__ import annotations

import re
from typing import Any

from flux.api.problems import KINDS
from tests.integration.api.conftest import Rest

METHODS = {"get", "post", "put", "patch", "delete"}


async def document(rest: Rest) -> dict[str, Any]:
    answer = await rest.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.content == (await rest.client.get("/api/v1/openapi.json")).content
    found: dict[str, Any] = answer.json()
    return found


def operations(found: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (m, path, o) for path, methods in found["paths"].items() for m, o in methods.items() if m in METHODS
    ]


async def test_every_route_of_the_contract_is_there(rest: Rest) -> None:
    there = {(method.upper(), path) for method, path, _ in operations(await document(rest))}
    api = "/api/v1"
    wanted = {
        *{("POST", f"{api}/jobs"), ("GET", f"{api}/jobs"), ("POST", f"{api}/jobs/batch")},
        *{(method, f"{api}/jobs/{{id}}") for method in ("GET", "PATCH", "DELETE")},
        *{("POST", f"{api}/jobs/{{id}}/{verb}") for verb in ("retry", "rerun")},
        *{("POST", f"{api}/jobs/{verb}") for verb in ("retry", "cancel")},
        *{("GET", f"{api}/jobs/{{id}}/{what}") for what in ("logs", "wait")},
        *{("GET", f"{api}/queues"), ("GET", f"{api}/queues/{{queue}}"), ("PATCH", f"{api}/queues/{{queue}}")},
        *{("POST", f"{api}/queues/{{queue}}/{verb}") for verb in ("pause", "resume")},
        *{("GET", f"{api}/workers"), ("POST", f"{api}/workers/{{id}}/drain")},
        *{("POST", f"{api}/schedules"), ("GET", f"{api}/schedules")},
        *{(method, f"{api}/schedules/{{name}}") for method in ("GET", "PATCH", "DELETE")},
        *{("POST", f"{api}/schedules/{{name}}/{verb}") for verb in ("pause", "resume", "trigger")},
        *{("GET", f"{api}/{what}") for what in ("stats", "events", "openapi.json", "docs")},
        *{("GET", f"/health{part}") for part in ("", "/db", "/redis", "/live", "/ready")},
        ("GET", "/metrics"),
    }
    assert there == wanted


async def test_every_operation_is_documented(rest: Rest) -> None:
    found = await document(rest)
    assert found["openapi"] == "3.1.0"
    names = [operation["operationId"] for _, _, operation in operations(found)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(found):
        where = f"{method} {path}"
        assert operation["summary"], where
        named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path)), where
        for parameter in operation["parameters"]:
            assert parameter["description"], (where, parameter["name"])
            assert parameter["example"] is not None, (where, parameter["name"])
        if "requestBody" in operation:
            assert operation["requestBody"]["content"]["application/json"]["example"], where
        for status, reply in operation["responses"].items():
            assert reply["description"], (where, status)
            for content in reply.get("content", {}).values():
                assert content["schema"], (where, status)
                assert content["example"] is not None, (where, status)
            if int(status) >= 400 and not path.startswith("/health"):
                assert set(reply["content"]) == {"application/problem+json"}, (where, status)
                assert int(status) in KINDS


async def test_every_reference_leads_somewhere(rest: Rest) -> None:
    found = await document(rest)
    names = set(re.findall(r'"#/components/schemas/(\w+)"', (await rest.client.get("/openapi.json")).text))
    assert names <= set(found["components"]["schemas"])


async def test_examples_of_bodies_are_accepted(rest: Rest) -> None:
    found = await document(rest)
    for method, path, operation in operations(found):
        if "requestBody" not in operation or "{" in path:
            continue
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = await rest.client.request(method.upper(), path, json=example)
        assert answer.status_code < 300, (method, path, answer.text)


async def test_jobs_have_the_documented_fields(rest: Rest) -> None:
    found = await document(rest)
    schema = found["components"]["schemas"]["JobOut"]
    job = await rest.enqueue()
    assert set(schema["properties"]) == set(job)
    assert set(
        found["paths"]["/api/v1/jobs"]["post"]["responses"]["201"]["content"]["application/json"]["example"]
    ) == set(job)


async def test_the_page_needs_nobody_else(rest: Rest) -> None:
    for path in ("/docs", "/api/v1/docs"):
        page = await rest.client.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        used = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert used
        for link in used:
            if not link.startswith("data:"):
                assert (await rest.client.get(link)).status_code == 200, link
        assert "http" not in page.text.replace("http-equiv", "")
    script = (await rest.client.get("/docs/docs.js")).text
    assert "http://" not in script
    assert "https://" not in script
