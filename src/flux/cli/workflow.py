"""`flux workflow`: definitions of workflows, and their runs."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from flux.cli import workflow_run
from flux.cli.definition_file import read_definition_file
from flux.cli.failures import ExitCode
from flux.cli.options import Json
from flux.cli.terminal import print_json
from flux.domain.errors import Invalid
from flux.domain.words import plural
from flux.domain.workflow.definition import digest
from flux.domain.workflow.parse import parse_with_graph
from flux.domain.workflow.schema import definition_schema

app = typer.Typer(help="Workflows: graphs of jobs.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def workflow() -> None:
    """Run workflows, look at them, and check their definitions."""


app.command()(workflow_run.run)
app.command("list")(workflow_run.list_workflows)
app.command()(workflow_run.show)
app.command()(workflow_run.cancel)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a definition, for your editor."""
    raw = msgspec.json.format(msgspec.json.encode(definition_schema()), indent=2)
    print(raw.decode())


@app.command()
def check(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A definition, .json or .yaml; - reads standard input.")
    ],
    as_json: Json = False,
) -> None:
    """Say whether a definition would be accepted, or everything that is wrong with it. Nothing is stored."""
    value = read_definition_file(file)
    try:
        definition, graph = parse_with_graph(value)
    except Invalid as refused:
        if as_json:
            raise
        for error in refused.errors:
            print(f"{error.field}: {error.message}", file=sys.stderr)
        raise typer.Exit(ExitCode.USAGE) from None
    if as_json:
        print_json(
            {
                "name": definition.name,
                "steps": len(graph.order),
                "edges": graph.edges,
                "depth": graph.depth,
                "digest": digest(definition),
            }
        )
    else:
        counts = f"{plural(len(graph.order), 'step')}, {plural(graph.edges, 'edge')}, {graph.depth} deep"
        print(f"OK  {definition.name}: {counts}")
