"""PostgreSQL under test: a database a test, on the server that the whole run shares."""

from __future__ import annotations

from pathlib import Path

from flux.engine.ports import Store
from tests.conformance.store.lab import SteeredClock
from tests.servers.schema import migrate as bring_up
from tests.servers.shared import SharedPostgres


class PostgresDatabase:
    """A database for each place; each handle with connections of its own."""

    name = "postgres"

    def __init__(self) -> None:
        self._server: SharedPostgres | None = None
        self._databases: dict[Path, str] = {}
        self._migrated: set[str] = set()
        self._clean: list[str] = []

    def serve(self, server: SharedPostgres) -> None:
        """Say where databases come from; the fixtures do, before a test asks for one."""
        self._server = server

    def handle(self, place: Path, clock: SteeredClock, *, migrate: bool) -> Store:
        """A new handle on the place's database, made at the first one: with its schema where that is wanted."""
        from flux.stores.postgres.database import Place
        from flux.stores.postgres.store import PostgresStore

        assert self._server is not None, "no fixture has said where databases come from"
        url = self._databases.get(place)
        if url is None:
            if not migrate:
                url = self._server.create_database()
            elif self._clean:
                url = self._clean.pop()
            else:
                url = self._server.create_database(self._server.template("newest_schema", bring_up))
            self._databases[place] = url
            if migrate:
                self._migrated.add(url)
        return PostgresStore(Place(url=url), clock=clock, migrate=migrate)

    async def remove(self, place: Path) -> None:
        """Throw the database away, or empty it for the next test: making one takes most of a test's time."""
        assert self._server is not None
        url = self._databases.pop(place, None)
        if url is None:
            return
        if url in self._migrated and _emptied(url):
            self._clean.append(url)
        else:
            self._server.drop_database(url)


def _emptied(url: str) -> bool:
    """Empty every table; False where a test has left another schema behind."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text, c.relispartition AND c.relname <> 'done_default' FROM pg_class c "
            "WHERE c.relnamespace = to_regnamespace('flux') AND c.relkind IN ('r', 'p') AND c.relname <> 'migrations'"
        ).fetchall()
        for name, is_day in tables:
            if is_day:
                connection.execute(f"DROP TABLE {name}")
        kept = [name for name, is_day in tables if not is_day]
        if kept:
            connection.execute(f"TRUNCATE {', '.join(kept)} RESTART IDENTITY")
    return bool(kept)
