"""Numbered schema files beside a store, and the way from what a database has to what it should have.

A file is called ``NNNN_name.pre.up.sql`` or ``NNNN_name.post.up.sql`` (and ``.down.sql``): what ``Phase`` says. The
first one, before which there is nobody to overlap with, has no phase in its name and counts as ``pre``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

import msgspec

from flux.domain.errors import Invalid, SchemaMismatch
from flux.domain.schema import Phase

_PRE = f".{Phase.PRE}"
_POST = f".{Phase.POST}"


class Migration(msgspec.Struct, frozen=True):
    """One step of the schema, and back."""

    number: int
    name: str
    up: str
    down: str

    @property
    def phase(self) -> Phase:
        """When it runs."""
        return Phase.POST if self.name.endswith(_POST) else Phase.PRE


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


def steps_to(
    known: Sequence[Migration], have: Mapping[int, str], target: int | None, phase: Phase | None = None
) -> list[Step]:
    """From what a database has to ``target`` (None: the newest), upwards only what is of ``phase`` (None: of both).

    A database that has nothing gets both phases in any case: nobody works on it.

    Raises ``Invalid``: a target that does not exist, or a ``post`` migration before a ``pre`` one that it follows.
    Raises ``SchemaMismatch``: the database is newer than this program.
    """
    newest = known[-1].number
    if target is not None and not 0 <= target <= newest:
        raise Invalid.one("target", f"must be a migration from 0 (none) to {newest}, not {target}")
    wanted = newest if target is None else target
    newer = [name for number, name in have.items() if number > newest]
    if newer and target is not None:
        raise SchemaMismatch(_too_new(known, newer))
    if _refused(newer):
        raise SchemaMismatch(_too_new(known, _refused(newer)))
    if wanted < max((number for number in have if number <= newest), default=0):
        downs = [one for one in reversed(known) if one.number > wanted and one.number in have]
        return [Step(one.number, one.name, one.down, False) for one in downs]
    missing = [one for one in known if one.number <= wanted and one.number not in have]
    if not have:
        phase = None
    if phase is Phase.POST:
        _refuse_too_early(missing)
    ups = [one for one in missing if phase is None or one.phase is phase]
    return [Step(one.number, one.name, one.up, True) for one in ups]


def mismatch(known: Sequence[Migration], have: Mapping[int, str]) -> str | None:
    """What stands between a database and this program, in words that name both; None when nothing does.

    Nothing does where only ``post`` migrations are missing, or where ``pre`` ones have run that only a newer program
    knows: then processes of two versions overlap.
    """
    numbers = {migration.number for migration in known}
    newer = _refused(name for number, name in have.items() if number not in numbers)
    if newer:
        return _too_new(known, newer)
    missing = [one.name for one in known if one.number not in have and one.phase is Phase.PRE]
    if not missing:
        return None
    stands = f"stands at {have[max(have)]}" if have else "has no schema of Flux"
    return (
        f"The database {stands}, and this program needs {missing[-1]} (lacking: {', '.join(missing)}): "
        "run `flux migrate up`, or `flux migrate up --phase pre` while older processes still run."
    )


def _refused(unknown: Iterable[str]) -> list[str]:
    """Those unknown migrations after which this program cannot go on."""
    return [name for name in unknown if not name.endswith(_PRE)]


def _refuse_too_early(missing: Sequence[Migration]) -> None:
    """Raise ``Invalid`` when what a ``post`` migration takes away is not replaced yet."""
    posts = [one.number for one in missing if one.phase is Phase.POST]
    first = [one.name for one in missing if one.phase is Phase.PRE and posts and one.number < posts[-1]]
    if first:
        raise Invalid.one("phase", f"{', '.join(first)} must run first: flux migrate up --phase pre")


def _too_new(known: Sequence[Migration], names: Sequence[str]) -> str:
    return (
        f"The database has migrations that this program, which ends at {known[-1].name}, does not know "
        f"({', '.join(names)}): use a Flux at least as new as the one that made them."
    )
