"""Where the servers' programs are on this machine, and what to say when they are not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST_POSTGRES = 15

_HOMES = (
    "/usr/lib/postgresql/*/bin",  # Debian and its kin: not on the PATH
    "/usr/pgsql-*/bin",  # the PostgreSQL project's RPMs
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_MORE_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/local/bin")
_VERSION = re.compile(r"\d+(\.\d+)*")
_INSTALL = (
    "scripts/install-servers.sh installs what is missing as root on Debian or Ubuntu; elsewhere install it yourself "
    "(Homebrew: brew install postgresql@17 redis pgbouncer)"
)


class ProgramMissing(Exception):
    """A server's program is not on this machine; the text says what to install."""


def postgres_bin() -> Path:
    """The folder of the newest PostgreSQL's programs, or the one that ``FLUX_POSTGRES_BIN`` names.

    Raises ``ProgramMissing``.
    """
    named = os.environ.get("FLUX_POSTGRES_BIN")
    if named:
        if _is_postgres(Path(named)):
            return Path(named)
        raise ProgramMissing(f"FLUX_POSTGRES_BIN={named} has no postgres, initdb and pg_ctl")
    found = {folder for pattern in _HOMES for folder in Path("/").glob(pattern[1:])}
    for program in ("pg_config", "postgres"):
        if path := shutil.which(program):
            found.add(_pg_config_bin(path) if program == "pg_config" else Path(path).resolve().parent)
    best = max(((version_of(at / "postgres"), at) for at in found if _is_postgres(at)), default=None)
    if best is None or best[0] < (OLDEST_POSTGRES,):
        seen = f", only {_dotted(best[0])} at {best[1]}" if best else ""
        raise ProgramMissing(f"PostgreSQL {OLDEST_POSTGRES} or newer is not installed{seen}; {_INSTALL}")
    return best[1]


def redis_server() -> Path:
    """Redis's or Valkey's server, or the one that ``FLUX_REDIS_SERVER`` names. Raises ``ProgramMissing``."""
    return _program("FLUX_REDIS_SERVER", ("redis-server", "valkey-server"), "Redis (or Valkey)")


def valkey_server() -> Path:
    """Valkey's server. Raises ``ProgramMissing``: not every distribution has it."""
    return _program("FLUX_VALKEY_SERVER", ("valkey-server",), "Valkey")


def pgbouncer() -> Path:
    """PgBouncer, or the one that ``FLUX_PGBOUNCER`` names. Raises ``ProgramMissing``."""
    return _program("FLUX_PGBOUNCER", ("pgbouncer",), "PgBouncer")


def version_of(program: Path) -> tuple[int, ...]:
    """The first number that ``program --version`` says: (15, 18)."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    # "Redis server v=7.0.15", "postgres (PostgreSQL) 17beta1", "PgBouncer 1.18.0"
    found = _VERSION.search(said)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)


def describe() -> str:
    """One line that names every program found. Raises ``ProgramMissing`` with everything that is missing, and no
    advice: the install script asks."""
    found, missing = [], []
    for name, find in (("PostgreSQL", postgres_bin), ("Redis", redis_server), ("PgBouncer", pgbouncer)):
        try:
            path = find()
        except ProgramMissing as error:
            missing.append(str(error).removesuffix(f"; {_INSTALL}"))
            continue
        program = path / "postgres" if path.is_dir() else path
        label = "Valkey" if program.name.startswith("valkey") else name
        found.append(f"{label} {_dotted(version_of(program))} ({path})")
    if missing:
        raise ProgramMissing("; ".join(missing))
    return ", ".join(found)


def _program(variable: str, names: tuple[str, ...], label: str) -> Path:
    named = os.environ.get(variable)
    if named:
        if path := shutil.which(named):
            return Path(path)
        raise ProgramMissing(f"{variable}={named} is not a program")
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *_MORE_PLACES])
    for name in names:
        if path := shutil.which(name, path=places):
            return Path(path)
    raise ProgramMissing(f"{label} is not installed; {_INSTALL}")


def _pg_config_bin(pg_config: str) -> Path:
    said = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False).stdout
    return Path(said.strip() or "/nonexistent")


def _is_postgres(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb", "pg_ctl"))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
