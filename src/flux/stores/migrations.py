"""Numbered schema files beside a store, and the way from what a database has to what it should have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import msgspec

from flux.domain.errors import Invalid, SchemaMismatch


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema, and back."""

    number: int
    name: str
    up: str
    down: str


class Step(msgspec.Struct, frozen=True):
    """A migration to run in one of its directions."""

    number: int
    name: str
    script: str
    up: bool


def known_migrations(package: str) -> list[Migration]:
    """The migrations of this program for the store of a package, in order."""
    folder = files(package).joinpath("migrations")
    found: list[Migration] = []
    for file in folder.iterdir():
        if file.name.endswith(".up.sql"):
            name = file.name.removesuffix(".up.sql")
            down = folder.joinpath(f"{name}.down.sql")
            number = int(name.partition("_")[0])
            found.append(Migration(number, name, file.read_text("utf-8"), down.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def steps_to(known: Sequence[Migration], have: Mapping[int, str], target: int | None) -> list[Step]:
    """From what a database has to ``target`` (None: the newest). Raises ``Invalid``, ``SchemaMismatch``."""
    newest = known[-1].number
    if target is not None and not 0 <= target <= newest:
        raise Invalid.one("target", f"must be a migration from 0 (none) to {newest}, not {target}")
    wanted = newest if target is None else target
    newer = [name for number, name in have.items() if number > newest]
    if newer:
        raise SchemaMismatch(_too_new(known, newer))
    ups = [one for one in known if one.number <= wanted and one.number not in have]
    downs = [one for one in reversed(known) if one.number > wanted and one.number in have]
    return [
        *(Step(one.number, one.name, one.up, True) for one in ups),
        *(Step(one.number, one.name, one.down, False) for one in downs),
    ]


def mismatch(known: Sequence[Migration], have: Mapping[int, str]) -> str | None:
    """What stands between a database and this program, in words that name both; None when nothing does."""
    numbers = {migration.number for migration in known}
    newer = [name for number, name in have.items() if number not in numbers]
    if newer:
        return _too_new(known, newer)
    missing = [migration.name for migration in known if migration.number not in have]
    if not missing:
        return None
    stands = f"stands at {have[max(have)]}" if have else "has no schema of Flux"
    return (
        f"The database {stands}, and this program needs {known[-1].name} (lacking: {', '.join(missing)}): "
        "run `flux migrate up`."
    )


def _too_new(known: Sequence[Migration], names: Sequence[str]) -> str:
    return (
        f"The database has migrations that this program, which ends at {known[-1].name}, does not know "
        f"({', '.join(names)}): use a Flux at least as new as the one that made them."
    )
