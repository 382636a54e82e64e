"""The same house on real servers: PostgreSQL as the truth, Redis for hints, and a client that never gives up.

``FLUX_TORTURE_SCALE`` (1 unless set) makes every bad day longer: as many times the jobs, as many times the blows.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg

from flux.domain.errors import Unavailable
from flux.domain.job import Job
from tests.torture.house import PATIENCE, House, Process, Rest, until

SCALE = int(os.environ.get("FLUX_TORTURE_SCALE", "1"))


class Hosted(House):
    """Processes find the servers by ``settings``; this process looks at ``witness_url``, past any proxy or pooler."""

    def __init__(self, directory: Path, database_url: str, redis_url: str | None = None) -> None:
        super().__init__(directory)
        self.witness_url = database_url
        self.own_settings["DATABASE_URL"] = database_url
        self.settings["DATABASE_URL"] = database_url
        if redis_url is not None:
            self.settings["REDIS_URL"] = self.own_settings["REDIS_URL"] = redis_url

    @property
    def database_url(self) -> str:
        return self.settings["DATABASE_URL"]

    def job(self, job_id: str) -> Job:
        """A job, also while the server is being hurt: asked again until it answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return super().job(job_id)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the server itself."""
        with psycopg.connect(
            self.witness_url, autocommit=True, options="-c search_path=flux", connect_timeout=10
        ) as connection:
            found = connection.execute(sql.encode(), values or None).fetchall()
        return [tuple(str(value) if isinstance(value, UUID) else value for value in row) for row in found]

    def ids(self, sql: str) -> list[str]:
        """The first column, as texts."""
        return [row[0] for row in self.rows(sql)]

    def counted(self, state: str) -> Counter[str]:
        """How often the event log says that each job came to a state."""
        return Counter(
            self.ids(f"SELECT unnest(ids) FROM events WHERE subject = 'job' AND state = '{state}'")
        )

    def check_database(self) -> None:
        """Nothing is at two places, and nothing there is twice."""
        assert self.ids("SELECT l.id FROM live l JOIN done d USING (namespace, id)") == []
        assert self.ids("SELECT id FROM done GROUP BY id HAVING count(*) > 1") == []

    def audit_all(self, client: Client) -> None:
        """Every job that the client has an answer for ended once, in success, and there are no others of its."""
        assert client.accepted, "nothing was accepted"
        self.all_ended(2 * PATIENCE)
        done = dict(self.rows("SELECT id, state FROM done"))
        assert set(client.accepted) <= set(done), f"lost: {set(client.accepted) - set(done)}"
        states = Counter(done[id] for id in client.accepted)
        assert set(states) == {"succeeded"}, states
        counted = self.counted("succeeded")
        twice = {id: counted[id] for id in client.accepted if counted[id] != 1}
        assert not twice, twice
        self.check_database()
        # A key stands for one job, however often its request was repeated.
        keyed = self.rows(
            "SELECT idempotency_key, count(*) FROM done WHERE idempotency_key = ANY (%s) GROUP BY 1",
            list(client.keys),
        )
        assert dict(keyed) == dict.fromkeys(client.keys, 1)
        ran = self.witnessed()
        attempts = dict(self.rows("SELECT id, attempt FROM done"))
        released = dict(
            self.rows("SELECT job_id, count(*) FROM attempts WHERE outcome = 'released' GROUP BY job_id")
        )
        for id, line in client.accepted.items():
            if line is not None:
                most = attempts[id] + released.get(id, 0)
                assert 1 <= ran[line] <= most, f"{id} ran {ran[line]} times in {most} attempts"

    def no_traceback(self) -> None:
        """Whatever happened was foreseen: no process has written a trace."""
        for process in self.processes:
            assert "Traceback" not in process.log, f"{process.name}:\n{process.tail}"

    def leaders(self) -> int:
        """How often a scheduler came to lead."""
        return sum(process.log.count("this scheduler leads (epoch ") for process in self.processes)


class Client(threading.Thread):
    """Sends jobs one after the other, each with a key, and repeats each request until it has an answer.

    Some are delayed, some fail at first. ``accepted``: job -> its line in the witness file (None: it writes none).
    """

    def __init__(self, rest: Rest, seed: int = 1, pause: float = 0.01) -> None:
        super().__init__(name="client", daemon=True)
        self._rest = rest
        self._random = Random(seed)
        self._pause = pause
        self._enough = threading.Event()
        self._name = f"c{seed}"
        self.accepted: dict[str, str | None] = {}
        self.keys: set[str] = set()
        self.refusals: Counter[str] = Counter()
        """What it was told meanwhile."""
        self.wrong: list[object] = []

    def run(self) -> None:
        """Send until told to stop, and until the last answer is there."""
        number = 0
        while not self._enough.is_set():
            number += 1
            self._send(f"{self._name}-{number}")
            time.sleep(self._pause)

    def stop(self) -> None:
        """Send no more; returns when the last request has its answer."""
        self._enough.set()
        self.join(2 * PATIENCE)
        assert not self.is_alive(), f"no answer came; it was told {self.refusals}"
        assert not self.wrong, self.wrong

    def sends(self, count: int, within: float = PATIENCE) -> None:
        """Return when so many more jobs than now are accepted."""
        goal = len(self.accepted) + count
        until(lambda: len(self.accepted) >= goal, f"{count} more jobs; it was told {self.refusals}", within)

    def refused(self, why: str, within: float = PATIENCE) -> None:
        """Return when an answer said so."""
        until(
            lambda: any(why in said for said in self.refusals),
            lambda: f"a refusal with {why!r}: {self.refusals}",
            within,
        )

    def _send(self, name: str) -> None:
        body = self._job(name)
        self.keys.add(name)
        deadline = time.monotonic() + 2 * PATIENCE
        while time.monotonic() < deadline:
            try:
                status, _, answer = self._rest.call("POST", "/api/v1/jobs", body)
            except (OSError, ValueError) as error:
                self.refusals[type(error).__name__] += 1
            else:
                if status in (200, 201):
                    line = name if body["type"] == "append" else None
                    self.accepted[answer["id"]] = line
                    return
                if status != 503:
                    self.wrong.append((status, answer))
                    return
                self.refusals[answer["detail"]] += 1
            time.sleep(0.1)

    def _job(self, name: str) -> dict[str, Any]:
        kind = self._random.choices(["append", "later", "flaky", "sleep"], [70, 12, 10, 8])[0]
        # Every blow may cost an attempt, and none may run out of them.
        common = {
            "idempotency_key": name,
            "max_retries": 50,
            "backoff": {"kind": "constant", "base": "100ms"},
        }
        line = {"file": "witness", "line": name}
        match kind:
            case "append":
                return {"type": "append", "payload": line, **common}
            case "later":
                delay = f"{self._random.randrange(1500)}ms"
                return {"type": "append", "payload": line, "delay": delay, **common}
            case "flaky":
                return {"type": "flaky", "payload": {"fail_times": self._random.randrange(1, 3)}, **common}
            case _:
                return {"type": "sleep", "payload": {"seconds": self._random.uniform(0.0, 0.3)}, **common}


def says_in_health(rest: Rest, path: str, status: str, words: str = "", within: float = PATIENCE) -> None:
    """Wait until a health path has that status and its sentence these words."""
    last: Any = None

    def as_told() -> bool:
        nonlocal last
        try:
            _, _, last = rest.call("GET", path)
        except OSError as error:
            last = error
            return False
        checks = last.get("checks", {"": last})
        return last["status"] == status and any(words in check["detail"] for check in checks.values())

    until(as_told, lambda: f"{path} to be {status} with {words!r}: {last}", within)


def each(processes: list[Process], *sentences: str) -> None:
    """Wait until all of them have said all of it."""
    for process in processes:
        process.says(*sentences)
