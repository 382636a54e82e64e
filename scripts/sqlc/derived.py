"""What is derived from the `.sql` files of the PostgreSQL store, and how it compares with what is there."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pprint import pformat
from typing import Final

import asyncpg

from flux.stores.migrations import known_migrations
from flux.stores.postgres.migrating import PACKAGE, migrate
from flux.stores.postgres.session import Session
from scripts.sqlc.bindings import write_bindings
from scripts.sqlc.catalog import Catalog, read_catalog
from scripts.sqlc.schema_page import write_page
from scripts.sqlc.sources import PROJECT
from scripts.sqlc.statements import describe
from scripts.sqlc.wrong import Wrong

BINDINGS: Final = "src/flux/stores/postgres/bindings.py"
SCHEMA_PAGE: Final = "docs/schema.md"


async def derive(url: str) -> dict[str, str]:
    """The texts by file, from an empty database, which has the newest schema afterwards. Raises ``Wrong``."""
    # Without a search path every name has its schema: those that the catalog tells, and those in the statements.
    connection = await asyncpg.connect(url, server_settings={"search_path": "pg_catalog"})
    try:
        catalog = await _up_down_up(connection)
        statements = await describe(connection)
    finally:
        await connection.close()
    return {BINDINGS: write_bindings(statements), SCHEMA_PAGE: write_page(catalog)}


async def _up_down_up(connection: asyncpg.Connection) -> Catalog:
    """Through every migration and back, each of which must leave what was there before it."""

    async def go(target: int | None) -> Catalog:
        try:
            async with connection.transaction():
                await migrate(Session(connection), target)
        except asyncpg.PostgresError as error:
            raise Wrong([f"on the way to migration {target}: {error}"]) from error
        return await read_catalog(connection)

    steps = known_migrations(PACKAGE)
    before: dict[int, Catalog] = {}
    newest = await go(0)
    for step in steps:
        before[step.number] = newest
        newest = await go(step.number)
    for step in reversed(steps):
        found = await go(step.number - 1)
        sentence = f"{step.name}.down.sql does not undo its .up.sql"
        _same(_sorted(before[step.number]), _sorted(found), sentence)
    _same(newest, await go(None), "the schema is another one after going down and up again")
    return newest


def _sorted(catalog: Catalog) -> Catalog:
    """Without the order of columns: one that is given back stands last."""
    tables = {name: table._replace(columns=sorted(table.columns)) for name, table in catalog.tables.items()}
    return catalog._replace(tables=tables)


def _same(wanted: Catalog, found: Catalog, sentence: str) -> None:
    if wanted != found:
        raise Wrong([sentence, _diff(pformat(wanted), pformat(found), "before", "after")])


def differences(files: Mapping[str, str]) -> dict[str, str]:
    """For each file that has another text on the disk (or is missing): what is different."""
    found = {}
    for name, text in files.items():
        path = PROJECT / name
        there = path.read_text("utf-8") if path.exists() else ""
        if there != text:
            found[name] = _diff(there, text, name, f"{name} by `make sqlc-generate`")
    return found


def write(files: Mapping[str, str]) -> None:
    """Put them on the disk."""
    for name, text in files.items():
        (PROJECT / name).write_text(text, "utf-8")


def _diff(old: str, new: str, old_name: str, new_name: str) -> str:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, n=2, lineterm="")
    return "\n".join(lines)
