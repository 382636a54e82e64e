"""The demo's handlers, run by a worker; mail to a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import importlib
import socket
from collections.abc import AsyncIterator, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from flux import Flux, JobFailed, JobState
from flux.sdk.doors import EngineDoor


@pytest.fixture
async def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Flux]:
    """The demo's application with its store, files and mails in the test's folder, and a worker."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'flux.db'}")
    monkeypatch.setenv("FLUX_DEMO_DIR", str(tmp_path))
    monkeypatch.setenv("FLUX_OUTBOX", str(tmp_path / "out" / "box"))
    monkeypatch.delenv("SMTP_URL", raising=False)
    flux: Flux = importlib.import_module("flux.demo").flux
    async with flux, flux.worker(concurrency=5, grace="1s"):
        yield flux


async def run(flux: Flux, type: str, payload: Any = None, **options: Any) -> Any:
    return await (await flux.enqueue(type, payload, **options)).result(timeout=60)


async def test_all_of_them_are_there(demo: Flux) -> None:
    assert set(demo.handlers()) == {
        "echo", "sleep", "append", "block", "cpu", "flaky", "fail", "email", "crash",
    }  # fmt: skip


async def test_echo_returns_any_payload(demo: Flux) -> None:
    assert await run(demo, "echo", {"a": [1, None], "ctx": 2}) == {"a": [1, None], "ctx": 2}
    assert await run(demo, "echo", {}) == {}
    (handle,) = await demo.enqueue_many([importlib.import_module("flux.demo").echo.request([1, "x"])])
    assert await handle.result(timeout=60) == [1, "x"]


async def test_sleep_and_block_return_their_payload(demo: Flux) -> None:
    for type in ("sleep", "block"):
        assert await run(demo, type, {"seconds": 0.01, "other": 1}) == {"seconds": 0.01, "other": 1}


async def test_some_say_what_they_do(demo: Flux) -> None:
    said = {}
    door = await demo.doors.here()
    assert isinstance(door, EngineDoor)
    for type, payload in (
        ("sleep", {"seconds": 0.5}),
        ("cpu", {"milliseconds": 1}),
        ("email", {"to": "a@b.c"}),
    ):
        handle = await demo.enqueue(type, payload)
        await handle.result(timeout=60)
        [(_, attempt, line)] = await door.engine.jobs.logs(handle.id)
        said[type] = (attempt, line.text)
    assert said["sleep"] == (1, "sleeping for 0.5 s")
    assert said["cpu"][1].startswith("counting for 1 ms in process")
    assert said["email"][1].startswith("no SMTP_URL is set: the mail to a@b.c lies in")


async def test_append(demo: Flux, tmp_path: Path) -> None:
    for n in range(3):
        await run(demo, "append", {"file": "witness.txt", "line": f"run {n}", "other": 1})
    assert (tmp_path / "witness.txt").read_text() == "run 0\nrun 1\nrun 2\n"
    for name in ("../x", "a/b", "..", "", "/etc/passwd"):
        with pytest.raises(JobFailed, match="plain name") as failed:
            await run(demo, "append", {"file": name, "line": "x"})
        assert failed.value.job.attempt == 1
    with pytest.raises(JobFailed, match="one line"):
        await run(demo, "append", {"file": "x", "line": "a\nb"})
    assert not (tmp_path / "x").exists()


async def test_flaky_and_fail(demo: Flux) -> None:
    assert await run(demo, "flaky", {"fail_times": 0, "other": 1}) == {"attempt": 1}
    with pytest.raises(JobFailed, match="RuntimeError: no luck"):
        await run(demo, "fail", {"message": "no luck", "other": 1}, max_retries=0)
    handle = await demo.enqueue("flaky", {"fail_times": 1})
    assert await handle.result(timeout=60) == {"attempt": 2}


async def test_processes(demo: Flux) -> None:
    assert (await run(demo, "cpu", {"milliseconds": 5, "other": 1}))["milliseconds"] == 5
    with pytest.raises(JobFailed) as failed:
        await run(demo, "crash", {"other": 1}, max_retries=0)
    assert failed.value.error.kind == "crashed"


MAIL = {
    "to": ["ada@example.org", "Bob <bob@example.org>"],
    "subject": "Grüße",
    "body": "Hallo\n.\nWelt ✓",
    "other": 1,
}


async def test_mail_to_the_outbox(demo: Flux, tmp_path: Path) -> None:
    handle = await demo.enqueue("email", MAIL)
    answer = await handle.result(timeout=60)
    (file,) = (tmp_path / "out" / "box").iterdir()
    assert answer == {"message_id": f"<{handle.id}@flux>", "file": str(file)}
    assert file.name == f"{handle.id}.eml"
    looks_right(email.message_from_bytes(file.read_bytes(), policy=email.policy.default), handle.id)


@pytest.mark.parametrize("to", ["", "\n", "a@b.c\nBcc: evil@example.org"])
async def test_mail_to_nobody_is_not_retried(demo: Flux, to: str) -> None:
    handle = await demo.enqueue("email", {"to": to})
    with pytest.raises(JobFailed):
        await handle.result(timeout=60)
    assert (await handle.get()).attempt == 1


class Postman:
    """Keeps what the SMTP server is given."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refuses = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if not session.authenticated:
            return "530 log in first"
        if self.refuses:
            return "451 try again later"
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope.rcpt_tos, mail))
        return "250 OK"


def log_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and (data.login, data.password) == (b"flux", b"p@ss")
    return AuthResult(success=known)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postman]:
    postman = Postman()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(postman, "127.0.0.1", port, authenticator=log_in, auth_require_tls=False)
    controller.start()
    monkeypatch.setenv("SMTP_URL", f"smtp://flux:p%40ss@127.0.0.1:{port}")
    yield postman
    controller.stop()


async def test_mail_by_a_real_server(demo: Flux, server: Postman, tmp_path: Path) -> None:
    handle = await demo.enqueue("email", MAIL)
    assert await handle.result(timeout=60) == {"message_id": f"<{handle.id}@flux>", "server": "127.0.0.1"}
    ((recipients, mail),) = server.mails
    assert recipients == ["ada@example.org", "bob@example.org"]
    looks_right(mail, handle.id)
    assert not (tmp_path / "out").exists()


async def test_a_server_that_refuses_is_a_failed_attempt(demo: Flux, server: Postman) -> None:
    server.refuses = True
    handle = await demo.enqueue("email", MAIL, max_retries=0)
    with pytest.raises(JobFailed, match="451"):
        await handle.result(timeout=60)
    assert (await handle.get()).state is JobState.DEAD


def looks_right(mail: Any, job_id: str) -> None:
    assert mail["To"] == "ada@example.org, Bob <bob@example.org>"
    assert mail["Subject"] == "Grüße"
    assert mail["Message-ID"] == f"<{job_id}@flux>"
    assert mail.get_content().replace("\r\n", "\n") == "Hallo\n.\nWelt ✓\n"
