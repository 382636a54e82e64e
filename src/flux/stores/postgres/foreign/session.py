"""The same statements through other drivers: a session a driver, and each driver's way of writing parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from flux.domain.errors import Invalid
from flux.stores.postgres.session import Record, Session
from flux.stores.postgres.sql import Statement

T = TypeVar("T")
Work = Callable[[Session], Coroutine[Any, Any, Any]]

_NUMBER = re.compile(r"\$(\d+)")


class Joined(Protocol):
    """A caller's connection."""

    asynchronous: bool
    """False: nothing about it waits for an event loop, and ``run`` never does."""

    async def run(self, work: Work) -> Any:
        """Run a work in the transaction that is open on it, or in one of its own where it commits by itself."""
        ...

    def follow(self, ended: Callable[[], None]) -> Callable[[], bool] | None:
        """After ``run``: how to see whether that transaction is over. None: ``ended`` will be called at its commit, in
        whatever thread commits."""
        ...


class ForeignSession(Session):
    """A session whose statements go through another driver. A subclass says how one is executed."""

    __slots__ = ()

    async def execute(self, statement: Statement, values: Mapping[str, Any]) -> tuple[Sequence[Record], int]:
        """The rows, and how many a statement without rows changed."""
        raise NotImplementedError

    async def fetch(self, statement: Statement, **values: Any) -> list[Record]:
        """See ``Session``."""
        return list((await self.execute(statement, _bound(statement, values)))[0])

    async def row(self, statement: Statement, **values: Any) -> Record | None:
        """See ``Session``."""
        rows = await self.fetch(statement, **values)
        return rows[0] if rows else None

    async def value(self, statement: Statement, **values: Any) -> Any:
        """See ``Session``."""
        row = await self.row(statement, **values)
        return None if row is None else row[0]

    async def run(self, statement: Statement, **values: Any) -> int:
        """See ``Session``."""
        return (await self.execute(statement, _bound(statement, values)))[1]


def _bound(statement: Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    # zip() makes tuples, which other drivers take for rows and not for arrays.
    return {
        name: list(values[name]) if isinstance(values[name], tuple) else values[name]
        for name in statement.parameters
    }


@cache
def in_python_format(statement: Statement) -> str:
    """With ``%(name)s``, for psycopg and Django."""
    return _written(statement, statement.text.replace("%", "%%"), "%({})s")


@cache
def with_colons(statement: Statement) -> str:
    """With ``:name``, for SQLAlchemy; in parentheses, since a cast follows in colons of its own."""
    return _written(statement, statement.text, "(:{})")


def _written(statement: Statement, text: str, form: str) -> str:
    return _NUMBER.sub(lambda found: form.format(statement.parameters[int(found[1]) - 1]), text)


def without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """The value of a coroutine that never waits: the works of a synchronous driver."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise RuntimeError("the work of a synchronous connection waited for an event loop")


def refuse(why: str) -> Invalid:
    """The error for a connection that cannot be joined."""
    return Invalid.one("connection", why)
