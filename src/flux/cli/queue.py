"""`flux queue`: looking at queues, pausing them, bounding them."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from flux.api.rest.queues import QueueList, QueueOut, queue_out
from flux.cli.failures import CommandError, ExitCode
from flux.cli.options import Json
from flux.cli.session import ask, submit
from flux.cli.terminal import print_fields, print_json, print_table, show_age, show_time
from flux.domain.words import plural
from flux.engine.engine import Engine
from flux.engine.ports import QueueSettings, QueueView
from flux.engine.queues import QueueChange
from flux.engine.statistics import Group

app = typer.Typer(help="Look at queues, pause and bound them.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")]

_SHOWN = ("available", "running", "scheduled", "retrying", "blocked")


@app.command("list")
def list_queues(as_json: Json = False) -> None:
    """List all queues with their depth (sampled each second by the scheduler)."""

    async def work(engine: Engine) -> tuple[list[QueueView], dict[str, Group], int]:
        stats = await engine.statistics.get()
        return await engine.queues.list(), stats.queues, await engine.store.now()

    views, groups, now = ask(work)
    if as_json:
        print_json(QueueList([queue_out(view, groups.get(view.settings.name), now) for view in views]))
        return
    rows = [
        (
            view.settings.name,
            "paused" if view.settings.paused else "open",
            *(str(view.depth.get(state, 0)) for state in _SHOWN[:4]),
            "" if view.oldest is None else show_age(view.oldest, now),
            "" if view.settings.max_depth is None else str(view.settings.max_depth),
        )
        for view in views
    ]
    print_table(("name", "state", *_SHOWN[:4], "oldest wait", "max depth"), rows, "no queues yet")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show one queue."""

    async def work(engine: Engine) -> tuple[QueueView, QueueOut, int]:
        view, now = await engine.queues.get(name), await engine.store.now()
        return view, await _document(engine, view), now

    view, document, now = ask(work)
    if as_json:
        print_json(document)
        return
    settings = view.settings
    paused = f"paused {show_time(settings.paused_at)} by {settings.paused_by or 'somebody'}"
    depth = [f"{view.depth[state]} {state}" for state in _SHOWN if view.depth.get(state)]
    print_fields(
        (
            ("queue", settings.name),
            ("state", paused if settings.paused else "open"),
            ("depth", ", ".join(depth) or "empty"),
            ("oldest wait", show_age(view.oldest, now)),
            ("max depth", "none" if settings.max_depth is None else str(settings.max_depth)),
            ("sampled", show_age(view.sampled_at, now) or "never (the scheduler does that)"),
        )
    )


@app.command()
def pause(name: Name, as_json: Json = False) -> None:
    """Let no job of the queue start until it is resumed; running ones go on."""
    _change(name, lambda engine: engine.queues.pause(name, _who()), as_json)


@app.command()
def resume(name: Name, as_json: Json = False) -> None:
    """Let the queue's jobs start again."""
    _change(name, lambda engine: engine.queues.resume(name, _who()), as_json)


@app.command("set")
def set_queue(
    name: Name,
    max_depth: Annotated[
        str | None,
        typer.Option(help="The most waiting jobs; past it enqueue is refused. none lifts the bound."),
    ] = None,
    paused: Annotated[bool | None, typer.Option("--paused/--open", help="Pause or resume it.")] = None,
    as_json: Json = False,
) -> None:
    """Change a queue's settings."""
    if max_depth is None and paused is None:
        raise CommandError("nothing to set: give --max-depth, --paused or --open", ExitCode.USAGE)
    change = QueueChange()
    if paused is not None:
        change.paused = paused
    if max_depth is not None:
        change.max_depth = _depth(max_depth)
    _change(name, lambda engine: engine.queues.change(name, change), as_json)


def _depth(text: str) -> int | None:
    if text.lower() in ("none", "off"):
        return None
    if not text.isdecimal():
        raise CommandError(f"--max-depth {text}: neither a whole number nor none", ExitCode.USAGE)
    return int(text)


def _change(name: str, change: Callable[[Engine], Awaitable[QueueSettings]], as_json: bool) -> None:
    async def work(engine: Engine) -> tuple[QueueSettings, QueueOut]:
        settings = await change(engine)
        return settings, await _document(engine, await engine.queues.get(name))

    settings, document = submit(work)
    if as_json:
        print_json(document)
        return
    bound = (
        "no bound on its depth"
        if settings.max_depth is None
        else f"at most {plural(settings.max_depth, 'waiting job')}"
    )
    print(f"{settings.name}  {'paused' if settings.paused else 'open'}, {bound}")


async def _document(engine: Engine, view: QueueView) -> QueueOut:
    stats = await engine.statistics.get()
    return queue_out(view, stats.queues.get(view.settings.name), await engine.store.now())


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "flux"
