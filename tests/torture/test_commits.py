"""The connection breaks in the middle of a commit, so that nobody knows what was kept: how each verb finds out.

``kept``: the server got the commit and its answer was lost; else it never arrived.
"""

from __future__ import annotations

from typing import Any

import pytest

from scripts.servers.postgres import PostgresServer
from tests.servers.private import Servers
from tests.servers.proxy import Proxy
from tests.torture.hosted import Hosted
from tests.torture.house import Rest, until

pytestmark = pytest.mark.torture

KEPT = pytest.mark.parametrize("kept", [True, False], ids=["kept", "not-kept"])


@pytest.fixture
def wire(servers: Servers, private_postgres: PostgresServer) -> Proxy:
    """What is between one process and PostgreSQL."""
    return servers.proxy(private_postgres.url)


def send(rest: Rest, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    return rest.call("POST", path, body)


@KEPT
def test_the_api_finds_out_what_became_of_a_job(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    """The same id again: it is stored once, and the client hears of nothing."""
    api, rest = hosted.api(DATABASE_URL=wire.url)
    # A single job is one statement, which commits by itself.
    wire.cut_at(b"only-here", delivered=kept)
    status, _, answer = send(rest, "/api/v1/jobs", {"type": "echo", "payload": {"mark": "only-here"}})
    assert status == 201, answer
    api.says("at a commit: whether it was kept is not known. The same jobs are sent again, to find out")
    assert hosted.ids("SELECT id FROM live") == [answer["id"]]
    assert hosted.counted("available") == {answer["id"]: 1}


@pytest.mark.parametrize(
    "wish", [{"idempotency_key": "order-1"}, {"unique": {"by": ["type"]}}], ids=["key", "unique"]
)
@KEPT
def test_a_job_with_a_key_is_no_replay_of_itself(
    hosted: Hosted, wire: Proxy, kept: bool, wish: dict[str, Any]
) -> None:
    """Its caller was never told that it was made: 201, as if the answer had not been lost."""
    api, rest = hosted.api(DATABASE_URL=wire.url)
    wire.cut_at(b"COMMIT", delivered=kept)
    status, headers, answer = send(rest, "/api/v1/jobs", {"type": "echo", "payload": {"n": 1}, **wish})
    assert (status, headers.get("idempotent-replayed")) == (201, None), answer
    api.says("The same jobs are sent again, to find out")
    assert hosted.ids("SELECT id FROM live") == [answer["id"]]


@KEPT
def test_the_api_finds_out_what_became_of_a_batch(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    api, rest = hosted.api(DATABASE_URL=wire.url)
    jobs = [{"type": "echo", "payload": {"n": n}} for n in range(1_000)]
    wire.cut_at(b"COMMIT", delivered=kept)
    status, _, answer = send(rest, "/api/v1/jobs/batch", {"jobs": jobs})
    assert status == 201, answer
    api.says("The same jobs are sent again, to find out")
    assert sorted(hosted.ids("SELECT id FROM live")) == sorted(job["id"] for job in answer["jobs"])
    assert set(hosted.counted("available").values()) == {1}


@KEPT
def test_what_the_api_cannot_find_out_its_client_does_by_the_key(
    hosted: Hosted, wire: Proxy, kept: bool
) -> None:
    api, rest = hosted.api(DATABASE_URL=wire.url)
    body = {"type": "echo", "payload": {"mark": "only-here"}, "idempotency_key": "order-1"}
    wire.cut_at(b"COMMIT", delivered=kept, then_refuse=True)
    status, headers, problem = send(rest, "/api/v1/jobs", body)
    assert (status, headers["retry-after"]) == (503, "1")
    assert "at a commit: whether it was kept is not known" in problem["detail"]
    hosted.until(lambda: len(hosted.ids("SELECT id FROM live")) == kept, "the server to have ended it")
    wire.resume()
    status, headers, job = again(rest, body)
    assert status == (200 if kept else 201)
    assert headers.get("idempotent-replayed") == ("true" if kept else None)
    assert hosted.ids("SELECT id FROM live") == [job["id"]]
    api.says("Nothing can be accepted or written until that is over.")


@KEPT
def test_without_a_key_a_job_sent_again_may_be_there_twice(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    """Only when the database stays away after the cut; and the client is told."""
    _, rest = hosted.api(DATABASE_URL=wire.url)
    body = {"type": "echo", "payload": {"mark": "only-here"}}
    wire.cut_at(b"only-here", delivered=kept, then_refuse=True)
    status, _, problem = send(rest, "/api/v1/jobs", body)
    assert (status, "whether it was kept is not known" in problem["detail"]) == (503, True), problem
    hosted.until(lambda: len(hosted.ids("SELECT id FROM live")) == kept, "the server to have ended it")
    wire.resume()
    assert again(rest, body)[0] == 201
    assert len(hosted.ids("SELECT id FROM live")) == 1 + kept


def again(rest: Rest, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    """Until it is not refused any more, which it is for certain while nothing can be reached."""
    answers: list[tuple[int, dict[str, str], Any]] = []

    def answered() -> bool:
        answers.append(send(rest, "/api/v1/jobs", body))
        return answers[-1][0] != 503

    until(answered, lambda: f"another answer than {answers[-1]}")
    assert not any("not known" in problem["detail"] for _, _, problem in answers[:-1])
    return answers[-1]


@KEPT
def test_what_a_claim_took_unheard_is_handed_back(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    """At once, by the worker itself: there is no scheduler, and no lease ends."""
    worker = hosted.worker("--concurrency", 1, DATABASE_URL=wire.url, FLUX_LEASE="60s")
    # While its only slot is taken it claims nothing.
    first = hosted.submit("sleep", {"seconds": 2})
    hosted.running(first)
    job_id = hosted.submit("append", {"file": "witness", "line": "x"})
    # Every claim names the types that the worker knows, and nothing else does that it sends now.
    wire.cut_at(b"flaky", delivered=kept)
    worker.says("claims wait for the store (", "trying again in ")
    job = hosted.ended(job_id)
    if kept:
        worker.says(f"job {job_id} was claimed without our hearing of it; it is handed back")
        assert [a.outcome for a in job.attempts] == ["released", "succeeded"]
    else:
        assert [a.outcome for a in job.attempts] == ["succeeded"]
    assert job.attempt == 1
    assert hosted.witnessed() == {"x": 1}
    hosted.audit([first, job_id])
    assert len(worker.worker_ids) == 1


@KEPT
def test_an_outcome_is_written_once_however_often_it_is_sent(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    worker = hosted.worker(DATABASE_URL=wire.url, FLUX_LEASE="60s")
    job_id = hosted.submit("sleep", {"seconds": 1, "mark": "only-here"})
    hosted.running(job_id)
    wire.cut_at(b"only-here", delivered=kept)  # the result, which is the payload
    worker.says("cannot write 1 outcome yet (", "whether it was kept is not known")
    job = hosted.ended(job_id)
    assert [a.outcome for a in job.attempts] == ["succeeded"]
    after = hosted.submit("echo")
    hosted.ended(after)
    if kept:
        worker.says("had been written already when the answer was lost")
    else:
        assert "came too late" not in worker.log
    hosted.audit([job_id, after])
    assert len(worker.worker_ids) == 1


@KEPT
def test_a_failure_is_counted_once_however_often_it_is_sent(hosted: Hosted, wire: Proxy, kept: bool) -> None:
    worker = hosted.worker(DATABASE_URL=wire.url, FLUX_LEASE="60s")
    # A claim is one statement: the end of the attempt is the first that this worker commits.
    wire.cut_at(b"COMMIT", delivered=kept)
    job_id = hosted.submit("fail", backoff={"kind": "constant", "base": "1h"})
    worker.says("cannot write 1 outcome yet (", "at a commit: whether it was kept is not known")
    hosted.until(lambda: hosted.state(job_id) == "retrying", "the failure to be stored")
    after = hosted.submit("echo")
    hosted.ended(after)
    job = hosted.job(job_id)
    assert [(a.number, a.outcome) for a in job.attempts] == [(1, "failed")]
    assert hosted.counted("retrying") == {job_id: 1}
    assert len(worker.worker_ids) == 1
