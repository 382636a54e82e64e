"""Handlers to try Flux with: what `flux dev` and `flux worker` serve when they are given no application.

All of them ignore arguments that they do not know. Settings: ``FLUX_DEMO_DIR``, ``FLUX_OUTBOX``, ``SMTP_URL``.
"""

from __future__ import annotations

import asyncio
import os
import smtplib
import ssl
import time
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

from flux import Context, Flux, Payload

SMTP_TIMEOUT = 30.0
"""Seconds that a mail server may take for each of its answers."""

flux = Flux()


@flux.job
async def echo(payload: Annotated[Any, Payload()]) -> Any:
    """Return the payload, whatever it is."""
    return payload


@flux.job
async def sleep(ctx: Context, seconds: float = 1.0, **_: Any) -> Any:
    """Wait without holding anything but a slot; return the payload."""
    ctx.logger.info("sleeping for %g s", seconds)
    await asyncio.sleep(seconds)
    return ctx.payload


@flux.job(no_retry=ValueError)
def append(file: str, line: str = "", **_: Any) -> None:
    """Append one line to a file of that plain name in ``FLUX_DEMO_DIR``, in one write.

    So the file is an independent witness of how often the handler ran, whatever Flux says.
    """
    if not file or file in (".", "..") or {"/", "\\", "\0"} & set(file):
        raise ValueError(f"file must be a plain name, not {file!r}")
    if "\n" in line or "\r" in line:
        raise ValueError("line must be one line")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(flux.settings().demo_dir / file, flags, 0o644)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@flux.job
def block(ctx: Context, seconds: float = 1.0, **_: Any) -> Any:
    """Hold a thread and take no notice of a cancel, as blocking code does; return the payload."""
    time.sleep(seconds)
    return ctx.payload


@flux.job(isolation="process")
def cpu(ctx: Context, milliseconds: float = 100.0, **_: Any) -> dict[str, float]:
    """Keep a core of a child process busy for that long."""
    ctx.logger.info("counting for %g ms in process %d", milliseconds, os.getpid())
    end = time.perf_counter() + milliseconds / 1000
    rounds = 0
    while time.perf_counter() < end:
        rounds += sum(range(1000)) // 499_500
    return {"milliseconds": milliseconds, "rounds": rounds}


@flux.job
async def flaky(ctx: Context, fail_times: int = 1, **_: Any) -> dict[str, int]:
    """Fail that many attempts, then return the number of the one that did not."""
    ctx.logger.info("attempt %d of at most %d", ctx.attempt, ctx.max_attempts)
    if ctx.attempt <= fail_times:
        raise RuntimeError(f"attempt {ctx.attempt} fails on purpose (fail_times is {fail_times})")
    return {"attempt": ctx.attempt}


@flux.job
async def fail(ctx: Context, message: str = "failed on purpose", **_: Any) -> None:
    """Fail every attempt with this message."""
    ctx.logger.warning("about to fail")
    raise RuntimeError(message)


@flux.job(isolation="process")
def crash(exit_code: int = 1, **_: Any) -> None:
    """End the child process in the middle of the attempt."""
    os._exit(exit_code)


@flux.job(no_retry=ValueError)
def email(
    ctx: Context,
    to: str | list[str],
    subject: str = "",
    body: str = "",
    sender: str = "flux@localhost",
    **_: Any,
) -> dict[str, str]:
    """Send a mail through ``SMTP_URL``, or without one write it to the folder ``FLUX_OUTBOX`` as an .eml file.

    Its Message-ID is made of the job's id, so that a mail sent twice can be told.
    """
    message_id = f"<{ctx.job_id}@flux>"
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to if isinstance(to, str) else ", ".join(to)
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = message_id
    message.set_content(body)
    if not any(address.addr_spec for address in message["To"].addresses):
        raise ValueError(f"to has no address: {to!r}")
    settings = flux.settings()
    if settings.smtp_url is not None:
        ctx.logger.info("handing the mail to %s to the server", message["To"])
        send(message, settings.smtp_url)
        return {"message_id": message_id, "server": urlsplit(settings.smtp_url).hostname or ""}
    file = keep(message, settings.outbox, ctx.job_id)
    ctx.logger.info("no SMTP_URL is set: the mail to %s lies in %s", message["To"], file)
    return {"message_id": message_id, "file": str(file)}


def send(message: EmailMessage, url: str) -> None:
    """Hand a mail to the server of ``smtp://user:password@host:port``, ``smtp://…?starttls`` or ``smtps://…``.

    Raises ``OSError`` and ``smtplib.SMTPException``.
    """
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    context = ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, parts.port or 465, timeout=SMTP_TIMEOUT, context=context
        )
    else:
        server = smtplib.SMTP(host, parts.port or 25, timeout=SMTP_TIMEOUT)
    with server:
        if "starttls" in parse_qs(parts.query, keep_blank_values=True):
            server.starttls(context=context)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)


def keep(message: EmailMessage, outbox: Path, name: str) -> Path:
    """Write a mail to the outbox folder, whole or not at all; its path."""
    outbox.mkdir(parents=True, exist_ok=True)
    target = outbox / f"{name}.eml"
    draft = outbox / f".{name}.{os.getpid()}.draft"
    draft.write_bytes(message.as_bytes())
    draft.replace(target)
    return target
