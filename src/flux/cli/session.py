"""What every command that talks to the store begins with: the settings, and an engine for as long as it needs one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flux.cli.failures import CommandError, ExitCode
from flux.config import Settings, build_engine, find_file, load_settings

if TYPE_CHECKING:
    from flux.engine.engine import Engine

T = TypeVar("T")


def read_settings(
    overrides: Mapping[str, object] | None = None, defaults: Mapping[str, object] | None = None
) -> Settings:
    """The settings of this process; ``overrides`` are its flags. Raises ``SettingsError``."""
    return load_settings(os.environ, find_file(os.environ), overrides, defaults)


def ask(work: Callable[[Engine], Awaitable[T]], settings: Settings | None = None) -> T:
    """Do some work on the store that is there.

    A database that does not exist is not made here: somebody who looks for a job in the wrong directory should
    hear that, and not find an empty queue.
    """
    settings = settings or read_settings()
    require_database(settings)
    return asyncio.run(_with_engine(settings, work, migrate=False))


def submit(work: Callable[[Engine], Awaitable[T]], settings: Settings | None = None) -> T:
    """Do work that puts something into the store; the database is made when there is none."""
    return asyncio.run(_with_engine(settings or read_settings(), work, migrate=True))


def require_database(settings: Settings) -> None:
    """Raise ``CommandError`` (not reachable) when there is no database to talk to."""
    if settings.on_postgres:
        return  # a server says itself what is wrong
    file = settings.database_file
    if file == ":memory:":
        raise CommandError(
            "a database in memory is seen by its own process only; set DATABASE_URL to a file", ExitCode.USAGE
        )
    if not Path(file).is_file():
        raise CommandError(
            f"there is no database {Path(file).absolute()}\n"
            "flux dev makes it; DATABASE_URL=sqlite:////path/flux.db names another",
            ExitCode.UNREACHABLE,
        )


async def _with_engine(settings: Settings, work: Callable[[Engine], Awaitable[T]], *, migrate: bool) -> T:
    engine = build_engine(settings, migrate=migrate)
    await engine.open()
    try:
        return await work(engine)
    finally:
        await engine.close()
