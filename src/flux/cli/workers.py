"""`flux worker list` and `flux worker drain`: who works, and asking one to leave."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from flux.api.rest.workers import WorkerList, worker_out
from flux.cli.failures import CommandError, ExitCode
from flux.cli.job_enqueue import parse_wait
from flux.cli.options import Json
from flux.cli.session import ask
from flux.cli.terminal import print_json, print_table, say, shorten, show_age
from flux.engine.engine import Engine
from flux.engine.ports import WorkerView
from flux.engine.workers import MOST_RUNNING

app = typer.Typer(help="Look at workers, ask one to leave.", no_args_is_help=True, rich_markup_mode=None)

LOOK_EVERY = 0.2


@app.command("list")
def list_workers(
    everyone: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that left within the last hour.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the workers that are alive, and the jobs that they run."""

    async def work(engine: Engine) -> tuple[list[WorkerView], int]:
        return await engine.workers.list(MOST_RUNNING), await engine.store.now()

    workers, now = ask(work)
    workers = [worker for worker in workers if worker.alive or everyone]
    if as_json:
        print_json(WorkerList([worker_out(worker) for worker in workers]))
        return
    rows = [
        (
            worker.info.id,
            f"{worker.info.host}/{worker.info.pid}",
            _state(worker),
            f"{worker.busy}/{worker.info.slots}",
            worker.info.queues or "*",
            show_age(worker.started_at, now),
            shorten(", ".join(worker.info.types), 50),
        )
        for worker in workers
    ]
    print_table(
        ("worker", "process", "state", "busy", "queues", "started", "types"), rows, "no worker is alive"
    )
    _print_running(workers, now)


def _print_running(workers: list[WorkerView], now: int) -> None:
    """The jobs that run, those that started first above."""
    running = [(job, worker) for worker in workers for job in worker.running]
    if not running:
        return
    running.sort(key=lambda one: (one[0].started_at, one[0].id))
    rows = [
        (
            job.id,
            job.type,
            job.queue,
            str(job.attempt),
            show_age(job.started_at, now),
            f"{worker.info.host}/{worker.info.pid}",
        )
        for job, worker in running[:MOST_RUNNING]
    ]
    print()
    print_table(("running job", "type", "queue", "attempt", "started", "process"), rows, "")
    more = max(sum(worker.busy for worker in workers) - len(rows), 0)
    if more:
        say(f"and {more:,} more; flux job list --state running shows all")


@app.command()
def drain(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="The workers' ids.")] = None,
    everyone: Annotated[bool, typer.Option("--all", "-a", help="All that are alive.")] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until they have left.")] = False,
    timeout: Annotated[str | None, typer.Option(help="The longest wait.")] = None,
    as_json: Json = False,
) -> None:
    """Ask workers to finish what they run and leave. A supervisor may start new ones in their place."""
    if bool(ids) == everyone:
        raise CommandError("which workers? give ids or --all", ExitCode.USAGE)
    seconds = None if timeout is None else parse_wait(timeout)

    async def work(engine: Engine) -> list[WorkerView]:
        wanted = ids or [worker.info.id for worker in await engine.workers.list() if worker.alive]
        drained = [await engine.workers.drain(id) for id in dict.fromkeys(wanted)]
        if wait:
            try:
                async with asyncio.timeout(seconds):
                    return await _gone(engine, [worker.info.id for worker in drained])
            except TimeoutError:
                raise CommandError(f"not all have left after {timeout}; they go on draining") from None
        return drained

    drained = ask(work)
    if as_json:
        print_json(WorkerList([worker_out(worker) for worker in drained]))
        return
    for worker in drained:
        print(f"{worker.info.id}  {_state(worker)}")
    if not drained:
        print("no worker is alive")


async def _gone(engine: Engine, ids: list[str]) -> list[WorkerView]:
    while True:
        workers = {worker.info.id: worker for worker in await engine.workers.list()}
        if not any(id in workers and workers[id].alive for id in ids):
            return [workers[id] for id in ids if id in workers]
        await asyncio.sleep(LOOK_EVERY)


def _state(worker: WorkerView) -> str:
    if not worker.alive:
        return "gone"
    return "draining" if worker.draining else "active"
