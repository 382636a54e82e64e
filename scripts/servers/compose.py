"""`make db-up` and `make db-down` through Docker Compose."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from scripts.servers import places
from scripts.servers.ports import HOST
from scripts.servers.postgres import USER
from scripts.servers.server import ServerFailed
from scripts.servers.talk import say

_FILE = places.PROJECT / "deployments" / "compose.yaml"
_COMPOSE = ("docker", "compose", "--file", str(_FILE))


def is_usable() -> bool:
    """Whether a Docker engine answers, and Compose is there."""
    return _quietly("docker", "info") is not None and _quietly("docker", "compose", "version") is not None


def is_up() -> bool:
    """Whether containers of ours run."""
    return is_usable() and bool(_quietly(*_COMPOSE, "ps", "--quiet"))


def up() -> Mapping[str, str]:
    """Start what does not run yet, wait until it is healthy; the URLs. Raises ``ServerFailed``, ``ValueError``."""
    postgres = places.port("POSTGRES_PORT", "DATABASE_URL", 5432)
    redis = places.port("REDIS_PORT", "REDIS_URL", 6379)
    ports = ["env", f"POSTGRES_PORT={postgres}", f"REDIS_PORT={redis}"]
    if subprocess.run([*ports, *_COMPOSE, "up", "--detach", "--wait"], check=False).returncode != 0:
        raise ServerFailed(
            "Docker Compose could not start them (its reason is above); make db-up POSTGRES_PORT=… REDIS_PORT=… "
            "chooses other ports, FLUX_SERVERS=local make db-up goes without Docker"
        )
    say("PostgreSQL and Redis are up in Docker")
    return {
        "DATABASE_URL": f"postgres://{USER}:{USER}@{HOST}:{postgres}/{USER}",
        "REDIS_URL": f"redis://{HOST}:{redis}/0",
    }


def down() -> None:
    """Remove the containers. The data stays in their volumes."""
    if subprocess.run([*_COMPOSE, "down"], check=False).returncode != 0:
        raise ServerFailed("Docker Compose could not stop them (its reason is above)")
    say("PostgreSQL and Redis are down; their data stays in Docker volumes")


def _quietly(*command: str) -> str | None:
    """What a command says, None when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
