"""Where `make db-up` keeps its servers, and how their URLs are remembered for `make run-…`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from scripts.servers import account

PROJECT = Path(__file__).parents[2]


def home() -> Path:
    """The folder of the servers' data: ``.servers`` in the project, or the one that ``FLUX_SERVERS_DIR`` names.

    Where root's project is in a place that nobody else may enter (``/root``), it is a folder of its own under
    ``/var/lib``: the servers run as an ordinary user.
    """
    named = os.environ.get("FLUX_SERVERS_DIR")
    folder = Path(named).absolute() if named else PROJECT / ".servers"
    if account.can_enter(folder):
        return folder
    return Path("/var/lib") / f"flux-{hashlib.sha256(bytes(folder)).hexdigest()[:8]}"


def remember(urls: Mapping[str, str]) -> None:
    """Write down where servers were started."""
    known = {**_read(_urls()), **urls}
    _urls().parent.mkdir(parents=True, exist_ok=True)
    _urls().write_text("".join(f"{name}={url}\n" for name, url in known.items()), "utf-8")


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ``, then ``.env`` of this folder; and where neither names a server, those of the last `make db-up`."""
    full = {**_read(Path(".env")), **environ}
    if full.get("DATABASE_URL") or full.get("REDIS_URL"):
        return full
    return {**full, **_read(_urls())}


def port(variable: str, url: str, default: int) -> int:
    """The port that ``variable`` names, else the one that the server had last time."""
    chosen = os.environ.get(variable)
    if chosen:
        if not chosen.isdigit() or not 0 < int(chosen) < 65536:
            raise ValueError(f"{variable}={chosen} is not a port")
        return int(chosen)
    return last_port(url) or default


def last_port(url: str) -> int | None:
    """The port of the server that was started last as ``DATABASE_URL`` or ``REDIS_URL``."""
    return urlsplit(_read(_urls()).get(url, "")).port


def _urls() -> Path:
    return home() / "env"


def _read(file: Path) -> dict[str, str]:
    """The ``NAME=value`` lines of a file, without the quotes around a value; nothing when there is no file."""
    if not file.is_file():
        return {}
    found = {}
    for line in file.read_text("utf-8").splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value
    return found
