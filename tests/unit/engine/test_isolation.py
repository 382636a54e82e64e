"""The pool of child processes, with real children: whatever a handler does harms its own attempt and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flux.domain.job import AttemptOutcome, ClaimedJob, ErrorKind, LogLine
from flux.engine import ending as endings
from flux.engine.ending import Ending
from flux.engine.isolation import ProcessPool
from tests.unit.engine import isolated_handlers as handlers

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

NOW = 1_700_000_000_000_000


class Paper:
    """A desk that keeps what it is told."""

    def __init__(self) -> None:
        self.progress: list[Any] = []
        self.checkpoints: list[Any] = []
        self.logs: list[LogLine] = []
        self.flushes = 0
        self.refuses: Exception | None = None
        self.checkpointed = asyncio.Event()

    def note(
        self, job: ClaimedJob, *, progress: bytes | None, checkpoint: bytes | None, log: LogLine | None
    ) -> None:
        if progress is not None:
            self.progress.append(msgspec.json.decode(progress))
        if checkpoint is not None:
            self.checkpoints.append(msgspec.json.decode(checkpoint))
            self.checkpointed.set()
        if log is not None:
            self.logs.append(log)

    async def flush(self) -> None:
        self.flushes += 1
        if self.refuses is not None:
            raise self.refuses

    def now(self) -> int:
        return NOW


def job(payload: Any = None, **more: Any) -> ClaimedJob:
    values: dict[str, Any] = {
        "id": "job-1", "claim_id": 1, "type": "t", "queue": "default", "priority": 5,
        "payload": msgspec.json.encode(payload).decode(), "attempt": 2, "attempt_limit": 4, "timeout": None,
        "options": None, "created_at": 0, "run_at": 0, "started_at": 0, "schedule_id": None, "workflow_id": None,
    }  # fmt: skip
    return ClaimedJob(**{**values, **more})


@pytest.fixture
async def pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(2, max_result=5000)
    yield pool
    await pool.close()


async def run(
    pool: ProcessPool, what: handlers.Declared, payload: Any = None, paper: Paper | None = None
) -> Ending:
    return await pool.run(what.handler, job(payload), paper or Paper())


async def value(pool: ProcessPool, what: handlers.Declared, payload: Any = None) -> Any:
    ending = await run(pool, what, payload)
    assert ending.how is AttemptOutcome.SUCCEEDED, ending
    assert ending.result is not None
    return msgspec.json.decode(ending.result)


def crash(ending: Ending) -> str:
    assert ending.how is AttemptOutcome.FAILED
    assert ending.error is not None
    assert ending.error.kind == ErrorKind.CRASHED
    assert not ending.final
    return ending.error.message


async def ended(pid: int) -> None:
    """Return when this process (a child of ours or not) has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, seen.set)
    try:
        await asyncio.wait_for(seen.wait(), 30)
    finally:
        loop.remove_reader(fd)
        os.close(fd)


# --- what a handler gets and gives ---


@pytest.mark.parametrize("what", [handlers.echo, handlers.echo_async])
async def test_a_handler_gets_its_payload_and_gives_its_value(
    pool: ProcessPool, what: handlers.Declared
) -> None:
    assert await value(pool, what, {"a": [1, "ä"]}) == {"a": [1, "ä"]}


async def test_the_context_knows_the_job(pool: ProcessPool) -> None:
    ending = await pool.run(handlers.describe.handler, job(checkpoint='{"row":3}'), Paper())
    assert ending.result == b'["job-1","t",2,4,{"row":3}]'


async def test_a_child_resembles_its_worker(pool: ProcessPool) -> None:
    found = await value(pool, handlers.whoami)
    assert found == {
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "stdin": "/dev/null",
        "sigint": True,
        "sigterm": True,
        "python_path": os.environ.get("PYTHONPATH"),
        "main_thread": True,
    }


async def test_a_child_serves_many_jobs_of_many_handlers(pool: ProcessPool) -> None:
    pids = {await value(pool, handlers.pid) for _ in range(20)}
    assert {await value(pool, handlers.uses_executor)} == pids
    assert len(pids) == 1


async def test_remarks_reach_the_desk(pool: ProcessPool) -> None:
    paper, claimed = Paper(), job()
    await pool.run(handlers.remarks.handler, claimed, paper)
    assert paper.progress == [{"current": 1, "total": 2, "message": "half"}]
    assert paper.checkpoints == [{"row": 7}]
    assert claimed.checkpoint == '{"row":7}'
    assert [(line.level, line.text) for line in paper.logs] == [
        ("INFO", "said by the context"),
        ("WARNING", "said by logging"),
    ]
    assert all(NOW <= line.at < NOW + 60_000_000 for line in paper.logs)


async def test_logged_lines_are_still_printed(pool: ProcessPool, capfd: pytest.CaptureFixture[str]) -> None:
    await run(pool, handlers.remarks)
    assert "said by logging" in capfd.readouterr().err


async def test_an_awaited_checkpoint_is_stored(pool: ProcessPool) -> None:
    paper = Paper()
    assert (await run(pool, handlers.stores, [1], paper)).result == b'"stored"'
    assert paper.checkpoints == [[1]]
    assert paper.flushes == 1


async def test_a_checkpoint_that_cannot_be_stored_raises_in_the_handler(pool: ProcessPool) -> None:
    paper = Paper()
    paper.refuses = RuntimeError("the store is away")
    ending = await run(pool, handlers.stores, [1], paper)
    assert ending.error is not None
    assert ending.error.message == "RuntimeError: the store is away"


async def test_a_flood_of_progress_is_thinned_and_its_last_kept(pool: ProcessPool) -> None:
    paper = Paper()
    await run(pool, handlers.flood, None, paper)
    assert paper.progress[-1]["current"] == 19_999
    assert len(paper.progress) < 2_000


async def test_printing_does_no_harm(pool: ProcessPool, capfd: pytest.CaptureFixture[str]) -> None:
    assert await value(pool, handlers.prints) == "printed"
    printed = capfd.readouterr()
    assert "printed\n" in printed.out
    assert "raw to two\n" in printed.err
    assert await value(pool, handlers.echo, 1) == 1


# --- how it ends ---


@pytest.mark.parametrize("what", [handlers.ends, handlers.ends_async])
@pytest.mark.parametrize(
    ("payload", "how", "kind", "message", "final"),
    [
        ("snooze", AttemptOutcome.SNOOZED, None, None, False),
        ("cancel", AttemptOutcome.CANCELLED, "cancelled", "not wanted", True),
        ("discard", AttemptOutcome.FAILED, "discarded", "no use", True),
        ("not json", AttemptOutcome.FAILED, "bad_result", None, True),
        ("large", AttemptOutcome.FAILED, "result_too_large", None, True),
        ("exception", AttemptOutcome.FAILED, "exception", "ValueError: wrong value", False),
        ("no_retry", AttemptOutcome.FAILED, "exception", "KeyError: 'k'", True),
        ("retry_after", AttemptOutcome.FAILED, "exception", None, False),
        ("arguments", AttemptOutcome.FAILED, "bad_arguments", "n must be a number", True),
        ("exit", AttemptOutcome.FAILED, "exception", "SystemExit: 3", False),
        ("interrupt", AttemptOutcome.FAILED, "exception", "KeyboardInterrupt", False),
        ("cancelled", AttemptOutcome.FAILED, "exception", "CancelledError", False),
    ],
)
async def test_the_ending_is_that_of_any_handler(
    pool: ProcessPool,
    what: handlers.Declared,
    payload: str,
    how: AttemptOutcome,
    kind: str | None,
    message: str | None,
    final: bool,
) -> None:
    ending = await run(pool, what, payload)
    assert (ending.how, ending.final) == (how, final)
    assert (ending.error and ending.error.kind) == kind
    if message is not None:
        assert ending.error is not None
        assert ending.error.message == message


async def test_a_traceback_has_the_handlers_frames_only(pool: ProcessPool) -> None:
    ending = await run(pool, handlers.ends, "exception")
    assert ending.error is not None
    assert ending.error.traceback is not None
    assert "isolated_handlers.py" in ending.error.traceback
    assert "flux/engine/child.py" not in ending.error.traceback


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("exit", "the handler's process ended with exit code 3"),
        ("segfault", "the handler's process was killed by signal 11 (SIGSEGV)"),
        ("killed", "the handler's process was killed by signal 9 (SIGKILL)"),
        ("abort", "the handler's process was killed by signal 6 (SIGABRT)"),
        ("closes", "lost its line to the worker"),
        ("closes and opens", "lost its line to the worker"),
        ("shuts", "the handler's process "),
        ("garbage", "broke the protocol"),
    ],
)
async def test_a_death_ends_its_attempt_and_nothing_else(pool: ProcessPool, how: str, sentence: str) -> None:
    paper = Paper()
    other = asyncio.create_task(pool.run(handlers.sleeps.handler, job(), paper))
    await paper.checkpointed.wait()
    assert sentence in crash(await run(pool, handlers.dies, how))
    assert not other.done()
    assert await value(pool, handlers.echo, 1) == 1
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_what_was_said_before_a_death_counts(pool: ProcessPool) -> None:
    paper = Paper()
    message = crash(await run(pool, handlers.dies_with_grandchild, None, paper))
    assert message == "the handler's process ended with exit code 4"
    await ended(paper.checkpoints[0]["pid"])


async def test_an_idle_child_that_dies_is_replaced_silently() -> None:
    pool = ProcessPool(1, max_result=1000)
    first = await value(pool, handlers.pid)
    os.kill(first, signal.SIGKILL)
    # The worker may not have noticed yet: the attempt is not to suffer from it.
    assert await value(pool, handlers.pid) != first
    await pool.close()


async def test_a_handler_that_cannot_be_found_says_so(pool: ProcessPool) -> None:
    for target, said in [
        ("no.such.module:x", "No module named 'no'"),
        ("tests.unit.engine.isolated_handlers:nobody", "no 'nobody' in tests.unit.engine.isolated_handlers"),
        ("tests.unit.engine.isolated_handlers:os", "is none"),
    ]:
        handler = msgspec.structs.replace(handlers.echo.handler, target=target)
        ending = await pool.run(handler, job(), Paper())
        assert ending.error is not None
        assert said in ending.error.message
    assert await value(pool, handlers.echo, 1) == 1


async def test_children_that_cannot_start_fail_their_attempts(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    message = crash(await run(pool, handlers.echo))
    assert message == "the handler's process ended with exit code 1 before it could start"
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert "could not be started" in crash(await run(pool, handlers.echo))
    monkeypatch.undo()
    assert await value(pool, handlers.echo, 1) == 1


# --- being stopped ---


@pytest.mark.parametrize("what", [handlers.sleeps, handlers.spins, handlers.sleeps_with_grandchild])
async def test_cancelling_kills_the_child_and_what_it_started(
    pool: ProcessPool, what: handlers.Declared
) -> None:
    paper = Paper()
    attempt = asyncio.create_task(pool.run(what.handler, job(), paper))
    await paper.checkpointed.wait()
    assert pool.busy() == 1
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert pool.busy() == 0
    await ended(paper.checkpoints[0]["pid"])
    assert await value(pool, handlers.echo, 1) == 1


async def test_one_who_waits_for_a_child_may_give_up() -> None:
    pool, paper = ProcessPool(1, max_result=1000), Paper()
    attempt = asyncio.create_task(pool.run(handlers.sleeps.handler, job(), paper))
    await paper.checkpointed.wait()
    waiting = asyncio.create_task(run(pool, handlers.echo))
    patient = asyncio.create_task(value(pool, handlers.echo, 2))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    attempt.cancel()
    assert await patient == 2
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await pool.close()


async def test_at_most_so_many_children_run_at_once(pool: ProcessPool) -> None:
    pids = await asyncio.gather(*(value(pool, handlers.pid) for _ in range(50)))
    assert 1 <= len(set(pids)) <= 2
    assert pool.busy() == 0


async def test_closing_ends_children_and_releases_attempts() -> None:
    pool, paper = ProcessPool(2, max_result=1000), Paper()
    attempts = [asyncio.create_task(pool.run(handlers.spins.handler, job(), paper)) for _ in range(3)]
    await paper.checkpointed.wait()
    await pool.close()
    assert await asyncio.gather(*attempts) == [endings.RELEASED] * 3
    for said in paper.checkpoints:
        await ended(said["pid"])
    with pytest.raises(RuntimeError, match="closed"):
        await run(pool, handlers.echo)


async def test_children_without_work_are_ended() -> None:
    pool = ProcessPool(2, max_result=1000, idle=0.01)
    await ended(await value(pool, handlers.pid))
    assert await value(pool, handlers.echo, 1) == 1
    await pool.close()


# --- what handlers leave behind ---


async def test_a_handler_that_forks_speaks_once(pool: ProcessPool) -> None:
    paper = Paper()
    assert (await run(pool, handlers.forks, None, paper)).result == b"1"
    assert paper.progress == []
    assert await value(pool, handlers.echo, 1) == 1


async def test_a_thread_that_outlives_its_attempt_ends_with_its_process(pool: ProcessPool) -> None:
    paper = Paper()
    ending = await run(pool, handlers.leaves_thread, None, paper)
    assert ending.result is not None
    await ended(int(ending.result))
    assert await value(pool, handlers.pid) != int(ending.result)
    assert paper.logs == []


async def test_leaked_tasks_are_cancelled(pool: ProcessPool) -> None:
    paper = Paper()
    ending = await run(pool, handlers.leaks, None, paper)
    assert ending.result is not None
    pid, done = msgspec.json.decode(ending.result)
    assert not done
    assert [line.text for line in paper.logs] == ["leak cancelled"]
    assert await value(pool, handlers.pid) == pid


async def test_a_task_that_does_not_end_costs_its_process(pool: ProcessPool) -> None:
    pid, _ = await value(pool, handlers.leaks_stubborn)
    await ended(pid)
    assert await value(pool, handlers.echo, 1) == 1


async def test_directory_and_timers_are_put_back(pool: ProcessPool) -> None:
    pid = await value(pool, handlers.moves)
    found = await value(pool, handlers.whoami)
    assert found["cwd"] == os.getcwd()
    assert await value(pool, handlers.pid) == pid


async def test_a_closed_stdout_costs_its_process(pool: ProcessPool) -> None:
    await ended(await value(pool, handlers.closes_output))
    assert await value(pool, handlers.prints) == "printed"


# --- memory ---


@pytest.mark.parametrize("what", [handlers.hungry, handlers.hungry_async])
async def test_a_memory_limit_ends_the_attempt_that_passes_it(
    pool: ProcessPool, what: handlers.Declared
) -> None:
    assert await value(pool, what, 32 << 20) == 32 << 20
    first = await value(pool, handlers.pid)
    assert crash(await run(pool, what, 128 << 20)) == "the handler went past its memory limit of 64MB"
    await ended(first)
    assert await value(pool, what, 32 << 20) == 32 << 20


async def test_a_limit_ends_with_its_attempt(pool: ProcessPool) -> None:
    await value(pool, handlers.hungry, 1)
    assert await value(pool, handlers.grows, 100 << 20) == await value(pool, handlers.pid)


async def test_a_child_that_grew_is_replaced(pool: ProcessPool) -> None:
    await ended(await value(pool, handlers.grows, 250 << 20))
    assert await value(pool, handlers.echo, 1) == 1


async def test_a_child_is_replaced_after_many_jobs(pool: ProcessPool) -> None:
    pids = [await value(pool, handlers.pid) for _ in range(1001)]
    assert pids.count(pids[0]) == 1000


# --- whole processes ---


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "app.py"
    path.write_text(
        textwrap.dedent(
            """
            import asyncio, os, sys, time
            from flux.engine.handler import Handler, Mode
            from flux.engine.isolation import ProcessPool
            from tests.unit.engine import isolated_handlers as handlers
            from tests.unit.engine.test_isolation import Paper, job

            class Declared:
                def __init__(self, call):
                    self.handler = Handler(
                        type="t", call=call, mode=Mode.PROCESS, target="__main__:" + call.__name__)

            class Application:
                handlers = {}

            @Declared
            def named(ctx):
                return __name__

            app = Application()
            app.handlers["t"] = named
            """
        )
        + textwrap.dedent(text)
    )
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.parametrize("target", ["__main__:named", "__main__:app#t"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_handlers_of_a_script_are_found(tmp_path: Path, target: str, loop: str) -> None:
    pytest.importorskip(loop)
    path = script(
        tmp_path,
        f"""
        async def main():
            import msgspec
            pool = ProcessPool(1, max_result=1000)
            handler = msgspec.structs.replace(named.handler, target={target!r})
            print((await pool.run(handler, job(), Paper())).result.decode())
            await pool.close()

        if __name__ == "__main__":
            import {loop}
            {loop}.run(main())
        """,
    )
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ('"__mp_main__"\n', "")


@pytest.mark.parametrize("what", ["sleeps", "spins"])
async def test_children_die_with_their_worker(tmp_path: Path, what: str) -> None:
    path = script(
        tmp_path,
        f"""
        class Told(Paper):
            def note(self, job, *, progress, checkpoint, log):
                print(checkpoint.decode(), flush=True)

        async def main():
            pool = ProcessPool(2, max_result=1000)
            await pool.run(handlers.{what}.handler, job(), Told())

        if __name__ == "__main__":
            asyncio.run(main())
        """,
    )
    with subprocess.Popen([sys.executable, str(path)], env=environment(), stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        with contextlib.ExitStack() as stack:
            stack.callback(worker.kill)
            pid = msgspec.json.decode(worker.stdout.readline())["pid"]
        await ended(pid)
