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
        *{("POST", f"{api}/workflows"), ("GET", f"{api}/workflows")},
        *{(method, f"{api}/workflows/{{id}}") for method in ("GET", "DELETE")},
        *{("GET", f"{api}/workflows/{{id}}/{what}") for what in ("steps", "wait")},
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


async def test_bounds_and_patterns_are_those_of_the_application(rest: Rest) -> None:
    fields = (await document(rest))["components"]["schemas"]["JobRequest"]["properties"]

    async def accepted(**body: Any) -> bool:
        answer = await rest.client.post("/api/v1/jobs", json={"type": "x", **body})
        assert answer.status_code in (201, 422), answer.text
        return answer.is_success

    for name in ("priority", "max_retries"):
        low, high = fields[name]["minimum"], fields[name]["maximum"]
        assert [await accepted(**{name: value}) for value in (low - 1, low, high, high + 1)] == [
            False, True, True, False,
        ]  # fmt: skip
    for name in ("type", "queue"):
        most = fields[name]["maxLength"]
        for value in ("a", "a/b:c.d_e-9", "-a", "b c", "é", "", "x" * most, "x" * (most + 1)):
            fits = re.search(fields[name]["pattern"], value) is not None and len(value) <= most
            assert await accepted(**{name: value}) == fits, (name, value)
    assert [await accepted(tags=["t"] * n) for n in (fields["tags"]["maxItems"], 51)] == [True, False]
    for name, field in fields.items():
        if name not in ("type", "payload"):
            assert {"type": "null"} in field["anyOf"], name
            assert await accepted(**{name: None}), name


async def test_a_backoff_has_the_documented_shapes(rest: Rest) -> None:
    schemas = (await document(rest))["components"]["schemas"]
    assert schemas["JobRequest"]["properties"]["backoff"]["anyOf"][0] == {
        "$ref": "#/components/schemas/Backoff"
    }
    *shapes, bare = schemas["Backoff"]["anyOf"]
    samples = {"base": "2s", "max": "1m", "factor": 3, "jitter": 0.5, "delays": ["1s", 2]}
    kinds = set()
    for shape in shapes:
        names = shape["properties"].keys() - {"kind"}
        kind = shape["properties"]["kind"]["const"]
        kinds.add(kind)
        for name in samples:
            backoff = {"kind": kind, **{one: samples[one] for one in names}, name: samples[name]}
            answer = await rest.client.post("/api/v1/jobs", json={"type": "x", "backoff": backoff})
            assert answer.is_success == (name in names), (backoff, answer.text)
    assert kinds == {"exponential", "linear", "constant", "list"}
    assert bare["type"] == "array"
    for example in schemas["Backoff"]["examples"]:
        assert (await rest.client.post("/api/v1/jobs", json={"type": "x", "backoff": example})).is_success


async def test_the_change_of_a_schedule_is_documented_in_full(rest: Rest) -> None:
    found = await document(rest)
    body = found["paths"]["/api/v1/schedules/{name}"]["patch"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/SchedulePatch"}
    schema = found["components"]["schemas"]["SchedulePatch"]
    assert set(schema["properties"]) == set(found["components"]["schemas"]["ScheduleRequest"]["properties"])
    assert (schema["required"], schema["additionalProperties"]) == ([], False)
    await rest.client.post("/api/v1/schedules", json={"name": "n", "type": "x", "cron": "@daily"})
    for name in ("misfire", "overlap"):
        for value in (*schema["properties"][name]["enum"], "maybe"):
            answer = await rest.client.patch("/api/v1/schedules/n", json={name: value})
            assert answer.is_success == (value != "maybe"), answer.text


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
