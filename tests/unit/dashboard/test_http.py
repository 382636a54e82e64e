"""Paths, prefixes, queries, and places that one must not be sent back to."""

from typing import Any

import pytest

from flux.dashboard.http import Query, Request, read_request
from flux.dashboard.security import inside, refusal


def request(
    path: str, root_path: str = "", prefix: str = "", headers: dict[str, str] | None = None
) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http", "method": "GET", "path": path, "root_path": root_path, "query_string": b"a=1&a=2&b=%2F",
        "headers": [(key.encode(), value.encode()) for key, value in (headers or {}).items()],
    }  # fmt: skip
    return read_request(scope, receive, prefix)


@pytest.mark.parametrize(
    ("path", "root_path", "prefix", "inner", "base"),
    [
        ("/jobs", "", "", "/jobs", ""),
        ("/flux/jobs", "", "/flux", "/jobs", "/flux"),  # a proxy that keeps the prefix
        ("/jobs", "", "/flux", "/jobs", "/flux"),  # one that strips it
        ("/host/jobs", "/host", "", "/jobs", "/host"),  # a mount that leaves the path whole, as ASGI says
        ("/jobs", "/host", "", "/jobs", "/host"),  # one that cuts it, as some do
        ("/host", "/host", "", "/", "/host"),
        ("/fluxion", "", "/flux", "/fluxion", "/flux"),
    ],
)
def test_a_path_is_found_wherever_the_dashboard_stands(
    path: str, root_path: str, prefix: str, inner: str, base: str
) -> None:
    found = request(path, root_path, prefix)
    assert (found.path, found.base) == (inner, base)


def test_queries_are_read_and_rewritten() -> None:
    query = request("/").query
    assert query.get("a") == "2"
    assert query.all("a") == ["1", "2"]
    assert str(query.with_(a=None, c=["x y", "z"])) == "?b=/&c=x%20y&c=z"
    assert str(query.with_(a=None, b=None)) == ""


@pytest.mark.parametrize(
    "place",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "/\\elsewhere.example",
        "/other",
        "",
        "/flux/\n",
        "javascript:x",
    ],
)
def test_a_form_leads_back_only_inside(place: str) -> None:
    assert not inside(place, "/flux")
    if place != "/other":
        assert not inside(place, "")


def test_inside() -> None:
    assert inside("/flux/jobs?q=a", "/flux")
    assert inside("/jobs", "")


def test_forms_need_the_token_and_our_own_origin() -> None:
    token = "0123456789abcdef" * 2
    form = Query((("csrf", token),))
    good = {"cookie": f"flux_csrf={token}", "host": "h"}
    assert refusal(request("/", headers=good), form) is None
    assert refusal(request("/", headers=good | {"origin": "http://h"}), form) is None
    assert refusal(request("/", headers=good | {"origin": "http://evil"}), form)
    assert refusal(request("/", headers=good | {"sec-fetch-site": "same-site"}), form)
    assert refusal(request("/", headers=good), Query((("csrf", "f" * 32),)))
    assert refusal(request("/", headers={"host": "h"}), form)
