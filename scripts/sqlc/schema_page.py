"""Writes docs/schema.md: every table, column and index of the PostgreSQL store, and why it is there."""

from __future__ import annotations

from collections.abc import Iterable

from scripts.sqlc.catalog import Catalog, Table
from scripts.sqlc.comments import Comments
from scripts.sqlc.wrong import Wrong

_HEAD = """<!-- Written by `make sqlc-generate` from a migrated database and the comments of its migrations. -->

# The schema in PostgreSQL

{head}

`flux migrate up` makes it, from `src/flux/stores/postgres/migrations/`, and `flux.migrations` remembers how far it
went. The statements that use it are in `src/flux/stores/postgres/queries/`. It is Flux's own and changes between
versions: read it as you like, and write it by no other way than Flux.
"""


def write_page(catalog: Catalog) -> str:
    """The text of the page. Raises ``Wrong`` for a table or an index of which no comment says why it is there."""
    comments = Comments()
    _explained(catalog, comments)
    parts = [_HEAD.format(head=comments.head)]
    tables = {name: table for name, table in catalog.tables.items() if table.partition_of is None}
    parts += [f"- [`{name}`](#{name.replace('.', '')})" for name in tables]
    for name, table in tables.items():
        partitions = [
            f"`{one} {part.partition_of.removeprefix(name).strip()}`"
            for one, part in catalog.tables.items()
            if part.partition_of is not None and part.partition_of.startswith(f"{name} ")
        ]
        parts += _table(name, table, partitions, comments)
    parts += ["", "## Functions and sequences", ""]
    for name, thing in catalog.things.items():
        said = comments.of(name.partition("(")[0])
        parts.append(f"- `{thing.shape}` ({thing.kind})" + (f": {said}" if said else ""))
    return "\n".join(parts) + "\n"


def _explained(catalog: Catalog, comments: Comments) -> None:
    names: list[str] = []
    for name, table in catalog.tables.items():
        if table.partition_of is None:
            names += [name, *table.indexes]
    wrong = [
        f"{comments.place(name)}: no comment above {name} says why it is there"
        for name in names
        if not comments.of(name)
    ]
    if wrong:
        raise Wrong(wrong)


def _table(name: str, table: Table, partitions: list[str], comments: Comments) -> Iterable[str]:
    yield from ("", f"## {name}", "", comments.of(name), "")
    yield from ("| column | type | | default |", "|---|---|---|---|")
    for column in table.columns:
        default = _code(column.default) if column.default else ""
        yield f"| `{column.name}` | {_code(column.shape)} | {'' if column.nullable else 'not null'} | {default} |"
    if table.constraints:
        yield from ("", f"Constraints: {', '.join(f'`{one}`' for one in table.constraints.values())}.")
    if table.partition_key is not None:
        yield from (
            "",
            f"Partitioned by `{table.partition_key}`: {', '.join(partitions)}, and those made at run time.",
        )
    if table.options:
        yield from ("", f"Storage: {', '.join(f'`{option}`' for option in table.options)}.")
    if table.indexes:
        yield from ("", "| index | on | why |", "|---|---|---|")
    for index, definition in table.indexes.items():
        unique = "unique " if definition.startswith("CREATE UNIQUE") else ""
        on = definition.partition(" USING btree ")[2] or definition
        yield f"| `{index}` | {unique}{_code(on)} | {_cell(comments.of(index))} |"


def _code(text: str) -> str:
    return _cell(f"`{text}`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
