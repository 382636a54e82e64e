"""The demo's `email` over TLS: a certificate that is known is used, one that is not is refused."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.integration.cli.conftest import Flux, Start, eventually, free_port


class Mailbox:
    """Keeps what was received."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.received.append(envelope.content)
        return "250 OK"


class Server(Controller):
    """A mail server that takes mail over TLS only: from the first byte (smtps), or by STARTTLS."""

    def __init__(self, mailbox: Mailbox, context: ssl.SSLContext, scheme: str) -> None:
        self._starttls = None if scheme == "smtps" else context
        around = context if scheme == "smtps" else None
        super().__init__(mailbox, hostname="127.0.0.1", port=int(free_port()), ssl_context=around)
        option = "" if scheme == "smtps" else "?starttls"
        self.url = f"{scheme}://localhost:{self.port}{option}"

    def factory(self) -> SMTP:
        return SMTP(self.handler, tls_context=self._starttls, require_starttls=self._starttls is not None)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that no machine knows."""
    return trustme.CA()


@pytest.fixture(params=["smtps", "smtp"])
def server(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = Server(Mailbox(), context, request.param)
    server.start()
    yield server
    server.stop()


def test_mail_goes_out_over_tls(
    flux: Flux, home: Path, start: Start, server: Server, authority: trustme.CA
) -> None:
    authority.cert_pem.write_to_path(str(home / "authority.pem"))
    start("worker", SMTP_URL=server.url, SSL_CERT_FILE=str(home / "authority.pem")).wait_for("takes jobs")
    answer = flux("job", "enqueue", "email", "to=ada@example.com", "subject=hello", "--wait", "--json")
    assert answer.code == 0, answer.out
    (mail,) = server.handler.received
    assert b"Subject: hello" in mail


def test_a_certificate_that_nobody_vouches_for_is_refused(flux: Flux, start: Start, server: Server) -> None:
    start("worker", SMTP_URL=server.url).wait_for("takes jobs")
    id = flux("job", "enqueue", "email", "to=ada@example.com", "--max-retries", "0", "--quiet").out.strip()
    job: dict[str, Any] = {}

    def ended() -> bool:
        job.update(flux("job", "show", id, "--json").json)
        return job["state"] == "dead"

    eventually(ended)
    assert "certificate verify failed" in job["error"]["message"]
    assert server.handler.received == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("smtp+starttls://localhost", "smtp://host:587?starttls"),
        ("smtp://user:secret@localhost?startls", "the only one is ?starttls"),
        ("localhost:25", "is not a mail server"),
    ],
)
def test_a_mail_server_that_cannot_be_meant_stops_the_start(
    flux: Flux, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    monkeypatch.setenv("SMTP_URL", url)
    answer = flux("worker")
    assert answer.code == 2
    assert reason in answer.err
    assert "secret" not in answer.err
