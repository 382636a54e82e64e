"""`flux job` against a real file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Flux, Start


def jobs(flux: Flux, *args: str) -> list[dict[str, Any]]:
    found: Any = flux("job", "list", "--json", *args).json["jobs"]
    return found  # type: ignore[no-any-return]


def test_enqueue_says_the_id_and_that_it_made_the_database(flux: Flux, home: Path) -> None:
    answer = flux("job", "enqueue", "echo", "to=ada", "n=5", "list=[1,2]", 'text="5"')
    assert answer.code == 0
    assert "made the database" in answer.err
    assert "No worker is alive" in answer.err
    (job,) = jobs(flux, "--full")
    assert answer.out.startswith(job["id"])
    assert job["payload"] == {"to": "ada", "n": 5, "list": [1, 2], "text": "5"}
    assert job["waiting_for"]["kind"] == "no_worker"


def test_times_in_json_are_text(flux: Flux) -> None:
    flux("job", "enqueue", "email", "--run-at", "2100-01-02T03:04:05Z")
    (job,) = jobs(flux)
    assert job["waiting_for"]["until"] == job["run_at"] == "2100-01-02T03:04:05.000000Z"


def test_a_wait_that_runs_out_says_so(flux: Flux) -> None:
    answer = flux("job", "enqueue", "email", "--delay", "1h", "--wait", "--wait-timeout", "100ms", "--quiet")
    assert answer.code == 1
    assert "still scheduled after 100ms" in answer.err


def test_every_option_of_enqueue_arrives(flux: Flux, home: Path) -> None:
    (home / "payload.json").write_text('{"a": 1}')
    job: Any = flux(
        *("job", "enqueue", "email", "--payload-file", "payload.json", "--queue", "mail", "--priority", "9"),
        *(
            "--delay",
            "1h",
            "--timeout",
            "30s",
            "--max-retries",
            "7",
            "--backoff",
            '{"kind": "constant", "base": "2s"}',
        ),
        *(
            "--idempotency-key",
            "k1",
            "--tag",
            "a",
            "--tag",
            "b",
            "--header",
            "tenant=x",
            "--expires-in",
            "2h",
        ),
        *("--unique-by", "type", "--json"),
    ).json
    assert job["payload"] == {"a": 1}
    assert (job["queue"], job["priority"], job["state"]) == ("mail", 9, "scheduled")
    assert (job["timeout"], job["max_retries"]) == ("30s", 7)
    assert job["backoff"]["kind"] == "constant"
    assert (job["idempotency_key"], job["tags"], job["headers"]) == ("k1", ["a", "b"], {"tenant": "x"})
    assert job["unique"] == {"by": ["type"]}
    assert job["expires_at"] is not None


def test_the_payload_may_come_from_stdin(flux: Flux, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}')))
    flux("job", "enqueue", "echo", "--payload", "-")
    assert jobs(flux, "--full")[0]["payload"] == {"from": "stdin"}


def test_the_same_key_is_the_same_job(flux: Flux) -> None:
    first = flux("job", "enqueue", "echo", "--idempotency-key", "k", "--quiet").out
    again = flux("job", "enqueue", "echo", "--idempotency-key", "k", "--json").json
    assert (again["id"], again["how"]) == (first.strip(), "replayed")
    other = flux("job", "enqueue", "echo", "x=1", "--idempotency-key", "k")
    assert other.code == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("--priority", "11"), "priority: must be between 1 and 10"),
        (("--delay", "soon"), "delay: 'soon' is not a duration"),
        (("--payload", "{"), "--payload is not JSON"),
        (("a=1", "--payload", "{}"), "give the payload once"),
        (("nonsense",), "'nonsense' is not KEY=VALUE"),
        (("--payload-file", "no.json"), "No such file"),
        (("--header", "x"), "is not name=value"),
        (("--wait-timeout", "soon"), "is not a duration"),
    ],
)
def test_a_refused_job_is_explained_and_nothing_is_stored(
    flux: Flux, home: Path, args: tuple[str, ...], reason: str
) -> None:
    answer = flux("job", "enqueue", "echo", *args)
    assert answer.code == 2
    assert reason in answer.err
    if (home / "flux.db").exists():
        assert jobs(flux) == []


def test_list_filters_and_goes_on_at_the_cursor(flux: Flux) -> None:
    for number in range(5):
        flux(
            "job",
            "enqueue",
            "echo",
            f"n={number}",
            "--queue",
            "even" if number % 2 == 0 else "odd",
            "--tag",
            f"t{number}",
        )
    assert len(jobs(flux)) == 5
    assert len(jobs(flux, "--queue", "even")) == 3
    assert len(jobs(flux, "--tag", "t3", "--state", "available,running")) == 1
    assert len(jobs(flux, "--payload", "n=2")) == 1
    assert jobs(flux, "--created-before", "1h") == []
    page = flux("job", "list", "--limit", "3", "--json").json
    rest = jobs(flux, "--cursor", str(page["next_cursor"]))
    assert len(rest) == 2
    table = flux("job", "list", "--limit", "3")
    assert table.out.splitlines()[0].split()[:4] == ["ID", "TYPE", "QUEUE", "STATE"]
    assert "more: --cursor" in table.err
    assert "is not one of" in flux("job", "list", "--state", "done").err


def test_cancel_retry_and_rerun_by_id(flux: Flux) -> None:
    id = flux("job", "enqueue", "echo", "a=1", "--quiet").out.strip()
    assert flux("job", "rerun", id).code == 1
    assert "cancelled" in flux("job", "cancel", id, "--reason", "not wanted").out
    shown = flux("job", "show", id)
    assert "not wanted" in shown.out
    again = flux("job", "cancel", id)
    assert again.code == 1
    assert id in again.err
    copy = flux("job", "rerun", id, "--payload", '{"a": 2}', "--json").json
    assert (copy["copied_from"], copy["payload"]) == (id, {"a": 2})
    assert "available" in flux("job", "retry", id).out
    missing = flux("job", "retry", "01a20f45-7490-7170-a267-983b51de07a1", "--json")
    assert missing.code == 1
    assert missing.json["count"] == 0
    assert flux("job", "show", "nope").code == 1


def test_many_are_changed_by_a_filter_after_a_question(flux: Flux, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        flux("job", "enqueue", "echo", "--queue", "q")
    flux("job", "enqueue", "echo", "--queue", "other")
    assert flux("job", "cancel").code == 2
    asked = flux("job", "cancel", "--queue", "q")
    assert asked.code == 2
    assert "cancel 3 jobs?" in asked.err
    assert len(jobs(flux, "--state", "available")) == 4
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdin, "readline", lambda: "n\n")
    assert flux("job", "cancel", "--queue", "q").code == 1
    monkeypatch.setattr(sys.stdin, "readline", lambda: "y\n")
    assert flux("job", "cancel", "--queue", "q").out == "3 jobs cancelled\n"
    assert flux("job", "retry", "--state", "cancelled", "--yes", "--json").json == {"count": 3}
    assert len(jobs(flux, "--state", "available")) == 4


def test_wait_logs_and_exit_codes_with_a_worker(flux: Flux, home: Path, start: Start) -> None:
    (home / "app.py").write_text(
        "from flux import Context, Flux\n"
        "flux = Flux()\n"
        "@flux.job()\n"
        "async def talk(ctx: Context, n: int) -> int:\n"
        "    for i in range(n):\n"
        "        ctx.logger.info('line %d', i)\n"
        "    return n\n"
        "@flux.job(max_retries=0)\n"
        "async def fall() -> None:\n"
        "    raise ValueError('as asked')\n"
    )
    worker = start("worker", "app:flux")
    worker.wait_for("takes jobs")
    done = flux("job", "enqueue", "talk", "n=3", "--wait", "--wait-timeout", "60s", "--json")
    assert done.code == 0
    assert done.json["result"] == 3
    id = str(done.json["id"])
    assert flux("job", "wait", id).code == 0
    lines: Any = flux("job", "logs", id, "--json").json["logs"]
    assert [line["text"] for line in lines] == ["line 0", "line 1", "line 2"]
    assert flux("job", "logs", id, "--follow").out.count("line ") == 3
    failed = flux("job", "enqueue", "fall", "--max-retries", "0", "--wait", "--wait-timeout", "60s")
    assert failed.code == 1
    assert "exception: ValueError: as asked" in failed.out
    late = flux("job", "enqueue", "talk", "n=1", "--delay", "1h", "--quiet").out.strip()
    waited = flux("job", "wait", late, "--timeout", "200ms")
    assert waited.code == 1
    assert "still scheduled after 200ms" in waited.err
