"""Where the stores under test come from."""

from __future__ import annotations

from pathlib import Path

from flux.engine.ports import Store
from flux.stores.sqlite.store import SqliteStore
from tests.conformance.store.lab import Factory, SteeredClock
from tests.conformance.store.postgres import PostgresDatabase


class SqliteFile:
    """A file in the test's directory; each handle with threads and connections of its own."""

    name = "sqlite"
    inline = False

    def handle(self, place: Path, clock: SteeredClock, *, migrate: bool) -> Store:
        """A new handle on the file."""
        return SqliteStore(str(place / "flux.db"), clock=clock, inline=self.inline, migrate=migrate)

    async def remove(self, place: Path) -> None:
        """The file goes with the test's directory."""


class SqliteInline(SqliteFile):
    """The same without threads, as the simulation uses it."""

    name = "sqlite-inline"
    inline = True


FACTORIES: tuple[Factory, ...] = (SqliteFile(), SqliteInline(), PostgresDatabase())
