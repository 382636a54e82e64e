"""README.md does what it says: its shell session and its Python example are run as they stand; no link is dead."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from tests.integration.places import clean_environment, free_port

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent
PATIENCE = 60.0


def blocks(language: str, heading: str) -> list[str]:
    """The fenced blocks of a language below a heading."""
    (section,) = re.findall(rf"^## {heading}$(.*?)(?=^## |\Z)", README, re.M | re.S)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)


def shell_lines() -> list[str]:
    """The commands of the shell that the text below the session names."""
    (line,) = re.findall(r"^From the shell: (.*)$", README, re.M)
    return re.findall(r"`([^`]+)`", line)


class Dev:
    """`flux dev` in a folder of its own, and the README's commands as they are for its ports."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.api, self.dashboard = free_port(), free_port()
        self.log = home / "dev.log"
        # Each command then also says its status, and fails when nobody answers; its text stays as the README has it.
        (home / ".curlrc").write_text('write-out = "\\n%{http_code}"\nshow-error\nmax-time = 30\n')
        self.environ = clean_environment(
            CURL_HOME=str(home), API_PORT=self.api, DASHBOARD_PORT=self.dashboard
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [BIN / "flux", "dev", "--no-reload"],
                cwd=home,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.log.read_text()
            try:
                assert self.get("/health")["status"] == "ok"
                return
            except OSError:
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.05)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://localhost:{self.api}{path}", timeout=PATIENCE) as answer:
            return json.load(answer)

    def shell(self, text: str) -> str:
        """Run a command of the README; what it prints."""
        text = text.replace("8080", self.api).replace("8081", self.dashboard)
        text = re.sub(r"^(\.venv/bin/)?flux\b", str(BIN / "flux"), text)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.home,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def curl(self, text: str) -> tuple[int, Any]:
        body, _, status = self.shell(text).rpartition("\n")
        return int(status), json.loads(body)

    def ended(self, job_id: str) -> Any:
        return self.get(f"/api/v1/jobs/{job_id}/wait?timeout=30s")


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    running = Dev(tmp_path)
    try:
        running.wait_until_ready()
        yield running
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0, running.log.read_text()
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def test_the_shell_session(dev: Dev) -> None:
    (session,) = blocks("sh", "Try it")
    commands = session.strip().split("\n\n")
    assert len(commands) == 4
    assert all(command.startswith("curl -s ") for command in commands)

    jobs = {}
    for command in commands[:3]:
        status, job = dev.curl(command)
        assert status == 201, job
        jobs[job["type"]] = job
    assert jobs.keys() == {"echo", "email", "flaky"}
    assert jobs["email"]["state"] == "scheduled"
    assert jobs["email"]["priority"] == 9

    ended = {type: dev.ended(job["id"]) for type, job in jobs.items()}
    assert {job["state"] for job in ended.values()} == {"succeeded"}, ended
    assert ended["echo"]["result"] == {"hello": "world"}
    assert ended["flaky"]["attempt"] == 3
    outbox = list((dev.home / "outbox").glob("*.eml"))
    assert len(outbox) == 1
    mail = message_from_bytes(outbox[0].read_bytes(), policy=policy.default)
    assert (mail["To"], mail["Subject"]) == ("user@example.com", "Hi")
    assert mail.get_content().strip() == "…"

    status, listed = dev.curl(commands[3])
    assert status == 200
    assert [job["id"] for job in listed["jobs"]] == [jobs["flaky"]["id"]]

    enqueue, *others = shell_lines()
    assert "job enqueue" in enqueue
    assert others
    assert "world" in dev.shell(enqueue)
    echoes = dev.get("/api/v1/jobs?type=echo")["jobs"]
    assert [job["state"] for job in echoes] == ["succeeded", "succeeded"]
    said = {command: dev.shell(command) for command in others}
    assert "flaky" in said["flux job list"]
    assert "ok" in said["flux doctor"].lower()


def test_the_python_example(tmp_path: Path) -> None:
    (example,) = blocks("python", "In Python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'sent': 'a@b.c'}\n"
    assert done.stderr == ""
    assert (tmp_path / "flux.db").exists()


def test_the_example_file_is_the_readmes() -> None:
    (example,) = blocks("python", "In Python")
    text = (ROOT / "examples" / "quickstart.py").read_text()
    assert text.partition('"""\n\n')[2] == example


def test_the_commands_that_are_named_exist() -> None:
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    named = set(re.findall(r"`(?:\.venv/bin/)?flux ([a-z]+)", prose))
    assert named
    help_text = subprocess.run(
        [BIN / "flux", "--help"], env=clean_environment(), capture_output=True, text=True, check=True
    ).stdout
    missing = {name for name in named if not re.search(rf"^\W*{name}\b", help_text, re.M)}
    assert not missing, help_text
    makefile = (ROOT / "Makefile").read_text()
    targets = {
        target
        for document in (README, (ROOT / "CONTRIBUTING.md").read_text())
        for target in re.findall(
            r"\bmake ([a-z][a-z-]+)", "\n".join(re.findall(r"`[^`]+`|^make .*$", document, re.M))
        )
    }
    assert {target for target in targets if f"\n{target}:" not in makefile} == set()


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_no_link_is_dead(name: str) -> None:
    text = (ROOT / name).read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [link for link in links if not re.match(r"[a-z]+:", link)]
    dead = [link for link in relative if not _exists(link, text)]
    assert not dead
    if name != "CONTRIBUTING.md":
        assert relative


def _exists(link: str, text: str) -> bool:
    path, _, anchor = link.partition("#")
    if path:
        return (ROOT / path).exists()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
