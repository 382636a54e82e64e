"""`--json`: the documents of REST for the same things, and its problems when something is wrong."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.integration.cli.conftest import Answer, Flux, Start, free_port

Get = Callable[[str], Any]


@pytest.fixture
def get(flux: Flux, start: Start) -> Get:
    """Ask a REST server on the same file."""
    port = free_port()
    flux("migrate", "up")
    start("api", API_PORT=port).wait_for("listening on")

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return json.load(answer)

    return ask


def names(document: Any) -> Any:
    """A document without its values: what a program that reads it has to know."""
    if isinstance(document, dict):
        return {name: names(value) for name, value in document.items()}
    if isinstance(document, list):
        return [names(value) for value in document]
    return None


def test_documents_are_those_of_rest(flux: Flux, get: Get, start: Start) -> None:
    id = flux("job", "enqueue", "sleep", "seconds=0", "--delay", "1h", "--quiet").out.strip()
    echo = flux("job", "enqueue", "echo", "--quiet").out.strip()
    # Of a type that no worker knows: what is triggered stays as it was told.
    flux("schedule", "create", "nightly", "unknown", "--cron", "0 3 * * *")
    paused = flux("queue", "pause", "mail", "--json").json
    start("worker", FLUX_LEASE="10m").wait_for("takes jobs")
    assert flux("job", "wait", echo, "--timeout", "60s").code == 0
    for words, path in (
        (("job", "show", id), f"/api/v1/jobs/{id}"),
        (("job", "show", echo), f"/api/v1/jobs/{echo}"),
        (("job", "list"), "/api/v1/jobs"),
        (("job", "list", "--full"), "/api/v1/jobs?full=true"),
        (("job", "logs", echo), f"/api/v1/jobs/{echo}/logs"),
        (("queue", "list"), "/api/v1/queues"),
        (("queue", "show", "mail"), "/api/v1/queues/mail"),
        (("schedule", "list"), "/api/v1/schedules"),
        (("schedule", "show", "nightly"), "/api/v1/schedules/nightly"),
        (("worker", "list"), "/api/v1/workers"),
    ):
        assert names(flux(*words, "--json").json) == names(get(path)), words
    assert names(paused) == names(get("/api/v1/queues/mail"))
    fixed = ("id", "state", "run_at", "payload", "backoff", "created_at")
    shown, asked = flux("job", "show", id, "--json").json, get(f"/api/v1/jobs/{id}")
    assert [shown[name] for name in fixed] == [asked[name] for name in fixed]
    assert shown["waiting_for"]["until"] == asked["waiting_for"]["until"]  # type: ignore[index]
    triggered = flux("schedule", "trigger", "nightly", "--json").json
    assert names(triggered) == names(get(f"/api/v1/jobs/{triggered['id']}"))


def problem(answer: Answer) -> dict[str, Any]:
    assert answer.out == ""
    return msgspec.json.decode(answer.err, type=dict[str, Any])


@pytest.mark.parametrize(
    ("words", "code", "kind", "status"),
    [
        (("job", "show", "nothing"), 1, "not-found", 404),
        (("queue", "show", "nowhere"), 1, "not-found", 404),
        (("job", "enqueue", "echo", "--priority", "11"), 2, "invalid", 422),
        (("job", "enqueue"), 2, "malformed", 400),
        (("job", "enqueue", "echo", "--priority", "high"), 2, "malformed", 400),
        (("job", "lst"), 2, "malformed", 400),
        (("jbo",), 2, "malformed", 400),
        (("worker", "nowhere:flux"), 2, "malformed", 400),
        (("worker", "--queues", "email:x"), 2, "malformed", 400),
    ],
)
def test_what_is_wrong_is_a_problem(
    flux: Flux, words: tuple[str, ...], code: int, kind: str, status: int
) -> None:
    flux("migrate", "up")
    answer = flux(*words, "--json")
    found = problem(answer)
    assert answer.code == code
    assert (found["type"], found["status"]) == (f"urn:flux:problem:{kind}", status)
    assert found["title"]
    assert found["detail"]
    plain = flux(*words)
    assert plain.code == code
    assert not plain.err.startswith("{")


def test_a_database_that_is_not_there_is_a_problem_too(flux: Flux) -> None:
    answer = flux("job", "list", "--json")
    assert answer.code == 3
    assert (problem(answer)["status"], "flux.db" in problem(answer)["detail"]) == (503, True)


def test_every_wrong_field_is_named(flux: Flux) -> None:
    answer = flux("job", "enqueue", "echo", "--priority", "0", "--max-retries", "-1", "--json")
    assert {error["field"] for error in problem(answer)["errors"]} == {"priority", "max_retries"}
