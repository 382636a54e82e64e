"""As whom servers run: as ourselves, or as an ordinary user where we are root, which PostgreSQL refuses."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def _ordinary_user() -> pwd.struct_passwd | None:
    """Who servers run as when we are root, else None. ``FLUX_SERVERS_USER`` chooses."""
    if os.geteuid() != 0:
        return None
    chosen = os.environ.get("FLUX_SERVERS_USER")
    for name in (chosen,) if chosen else ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError(f"there is no user {chosen or 'nobody'} to run the servers as")


def spawn(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program as the servers' user, in a session of its own, so that Ctrl-C here does not reach it."""
    return subprocess.Popen(command, start_new_session=True, **_as_user(), **options)


def run(command: Sequence[str | Path], input: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program as the servers' user to its end, and keep what it says."""
    return subprocess.run(command, check=False, input=input, capture_output=True, text=True, **_as_user())


def make_folder(path: Path) -> Path:
    """A folder that belongs to the servers' user and to nobody else. Raises ``OSError``."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    give(path)
    return path


def give(path: Path) -> None:
    """Hand a file or folder to the servers' user."""
    user = _ordinary_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def write(path: Path, text: str) -> None:
    """Write a file that only the servers' user can read."""
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    give(path)


def can_enter(folder: Path) -> bool:
    """Whether the servers' user may pass through every folder above ``folder``, which may not exist yet."""
    if _ordinary_user() is None:
        return True
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    return run(["test", "-x", str(there)]).returncode == 0


def _as_user() -> Mapping[str, Any]:
    user = _ordinary_user()
    if user is None:
        return {"cwd": "/"}
    # Not the caller's folder, which that user may not even be allowed to enter.
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
