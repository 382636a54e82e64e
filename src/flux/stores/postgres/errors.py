"""What the driver's complaints mean: a row that is refused, a database that is away, or a transaction to repeat."""

from __future__ import annotations

import asyncio

import asyncpg

from flux.domain.errors import DataRefused, FluxError, InDoubt, Unavailable

DRIVER = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    UnicodeError,
)
"""What comes out of the driver. Nobody outside knows these: they leave as our own."""

_AWAY = {
    "25006": "takes no writes (it is read-only: a standby?)",
    "25P03": "ended a transaction that stood still for too long",
    "28": "refuses the user or the password",
    "3D000": "does not exist",
    "42501": "does not let this user do that",
    "42P01": "lacks Flux's tables: run `flux migrate up`",
    "3F000": "lacks Flux's tables: run `flux migrate up`",
    "42883": "lacks Flux's functions: run `flux migrate up`",
    "53100": "cannot grow: the disk is full",
    "53200": "is out of memory",
    "53300": "has no connection to spare",
    "53": "is short of something",
    "55P03": "is held by somebody else's lock",
    "57014": "took too long for a statement",
    "57P01": "is shutting down",
    "57P02": "has crashed and recovers",
    "57P03": "is starting up",
    "58": "had an I/O error",
    "XX001": "is damaged",
    "XX002": "is damaged",
}

_AGAIN = frozenset({"40001", "40P01"})


def must_repeat(error: BaseException) -> bool:
    """Whether the transaction only met another one (a deadlock, a serialization that failed, a migration)."""
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return True
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in _AGAIN


def _is_about_data(error: BaseException) -> bool:
    """Whether the driver could not even write a value down: too large a number, half a character."""
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return False
    return isinstance(error, UnicodeError) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    )


def overtaken() -> asyncpg.PostgresError:
    """A key was taken in a caller's own transaction, which takes no lock, after we had looked: look again."""
    return asyncpg.exceptions.SerializationError("a key was taken meanwhile")


def is_lost(error: BaseException) -> bool:
    """Whether the connection itself is gone, so that nobody knows how its last statement ended."""
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        return code.startswith("08") or code in ("57P01", "57P02", "25P03")
    if isinstance(error, asyncpg.InterfaceError):
        return not _is_about_data(error)
    return isinstance(
        error, OSError | TimeoutError | asyncio.IncompleteReadError | asyncpg.InternalClientError
    )


def is_held_up(error: BaseException) -> bool:
    """Whether somebody's lock or a long walk held one work up, while the database is well."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in ("55P03", "57014", *_AGAIN)


def in_doubt(error: BaseException, place: str) -> InDoubt:
    """A commit was sent and its answer never came."""
    said = str(explain(error, place)).removesuffix(".")
    return InDoubt(f"{said}, at a commit: whether it was kept is not known.")


def explain(error: BaseException, place: str) -> FluxError:
    """One sentence with the place and the cause."""
    place = place[0].upper() + place[1:]
    cause = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        code = error.sqlstate or ""
        if code[:2] in ("22", "23", "54"):
            detail = f" ({error.detail})" if getattr(error, "detail", None) else ""
            return DataRefused(f"The database refused a row: {cause}{detail}.")
        if code[:2] == "08":
            return Unavailable(f"{place} is away: the connection was lost ({cause}).")
        words = _AWAY.get(code) or _AWAY.get(code[:2]) or "cannot be used"
        return Unavailable(f"{place} {words} ({cause}).")
    if _is_about_data(error):
        return DataRefused(f"The database refused a row: {cause}.")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{place} did not answer in time.")
    if isinstance(error, ConnectionRefusedError):
        return Unavailable(f"{place} refuses connections: is PostgreSQL running there?")
    return Unavailable(f"{place} is away ({cause}).")
