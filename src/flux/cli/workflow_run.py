"""`flux workflow run`, `list`, `show`, `cancel`: runs of workflows."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from flux.api.rest.jobs import check_reason
from flux.api.rest.workflows import StepOut, WorkflowList, WorkflowOut, described, workflow_out
from flux.cli.definition_file import read_definition_file
from flux.cli.failures import ExitCode
from flux.cli.job_enqueue import json_argument, parse_wait
from flux.cli.options import Json
from flux.cli.session import ask, submit
from flux.cli.terminal import print_fields, print_json, print_table, say, show_age
from flux.domain.errors import Conflict
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.states import OVER, WorkflowState
from flux.engine.engine import Engine
from flux.engine.ports import Workflow, WorkflowFilter
from flux.workflows.service import WorkflowService

Id = Annotated[str, typer.Argument(metavar="ID", help="The run's id.")]


def run(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A definition, .json or .yaml; - reads standard input.")
    ],
    input: Annotated[
        str | None, typer.Option(help="The input as JSON, in place of the definition's.")
    ] = None,
    wait: Annotated[str | None, typer.Option(help='Wait for its end, at most so long: "5m".')] = None,
    as_json: Json = False,
) -> None:
    """Run a workflow. With --wait: exit code 0 when it succeeded, 1 otherwise."""
    value = read_definition_file(file)
    given = None if input is None else msgspec.json.decode(json_argument(input, "--input"))
    seconds = None if wait is None else parse_wait(wait)
    definition, graph = parse_with_graph(value)

    async def work(engine: Engine) -> WorkflowOut:
        workflows = WorkflowService(engine)
        created = await workflows.start(definition, given, graph)
        run = (
            await workflows.get(created.id) if seconds is None else await workflows.wait(created.id, seconds)
        )
        return await described(workflows, run)

    found = submit(work)
    _print(found, as_json)
    if seconds is not None:
        if found.state not in OVER:
            say(f"still {found.state} after {wait}")
        if found.state is not WorkflowState.SUCCEEDED:
            raise typer.Exit(ExitCode.FAILED)


def list_workflows(
    state: Annotated[list[WorkflowState] | None, typer.Option(help="Only these (repeatable).")] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""

    async def work(engine: Engine) -> tuple[list[Workflow], str | None, int]:
        wanted = WorkflowFilter(states=tuple(state or ()), name=name)
        page = await WorkflowService(engine).list(wanted, limit, None)
        return page.workflows, page.next_cursor, await engine.store.now()

    runs, cursor, now = ask(work)
    if as_json:
        print_json(WorkflowList([workflow_out(run) for run in runs], cursor))
        return
    rows = [
        (run.id, run.name, run.state, show_age(run.created_at, now), show_age(run.finished_at, now))
        for run in runs
    ]
    print_table(("id", "name", "state", "created", "ended"), rows, "no workflows")


def show(id: Id, as_json: Json = False) -> None:
    """Show a run and its steps, and what those wait for that have not run."""

    async def work(engine: Engine) -> WorkflowOut:
        workflows = WorkflowService(engine)
        return await described(workflows, await workflows.get(id))

    _print(ask(work), as_json)


def cancel(
    id: Id,
    reason: Annotated[str | None, typer.Option(help="Kept with its steps.")] = None,
    as_json: Json = False,
) -> None:
    """End all of a run that has not ended. Exit code 1 when the run has."""
    check_reason(reason)

    async def work(engine: Engine) -> tuple[WorkflowOut, str | None]:
        workflows, refused = WorkflowService(engine), None
        try:
            run = await workflows.cancel(id, reason)
        except Conflict as error:
            run, refused = await workflows.get(id), str(error)
        return await described(workflows, run), refused

    found, refused = ask(work)
    _print(found, as_json)
    if refused is not None:
        say(refused)
        raise typer.Exit(ExitCode.FAILED)


def _print(run: WorkflowOut, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    print_fields(
        [
            ("id", run.id),
            ("name", run.name),
            ("state", run.state),
            ("created", run.created_at),
            ("finished", run.finished_at),
            ("input", _shown(run.input)),
            ("output", _shown(run.output)),
            ("error", None if run.error is None else run.error.message),
        ]
    )
    if isinstance(run.steps, list):
        print()
        rows = [(step.name, step.state, ", ".join(step.needs), _said(step)) for step in run.steps]
        print_table(("step", "state", "needs", ""), rows, "no steps")


def _said(step: StepOut) -> str:
    if step.waiting_for is not None:
        return str(step.waiting_for["text"])
    if step.error is not None:
        return step.error.message.partition("\n")[0][:100]
    return _shown(step.output) or ""


def _shown(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode()
    if text == "null":
        return None
    return text if len(text) <= 100 else f"{text[:100]}…"
