"""`make db-up`, `make db-down` and what `make run-…` begins with.

Usage: python -m scripts.servers up | down | programs | run COMMAND...

``up`` prints two lines that a shell may evaluate. FLUX_SERVERS=docker or local decides what starts them; without it
Docker Compose does where an engine answers. POSTGRES_PORT and REDIS_PORT choose the ports.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from scripts.servers import compose, local, places
from scripts.servers.programs import ProgramMissing, describe
from scripts.servers.server import ServerFailed
from scripts.servers.talk import say

_CHOICES: Final = ("docker", "local")


def main(words: list[str]) -> int:
    """Do what the words say; the exit code."""
    try:
        match words:
            case ["up"]:
                up()
            case ["down"]:
                down()
            case ["programs"]:
                print(describe())
            case ["run", command, *arguments]:
                environment = places.environment(os.environ)
                os.execvpe(command, [command, *arguments], environment)
            case _:
                say((__doc__ or "").strip())
                return 2
    except (ServerFailed, ProgramMissing, LookupError, OSError, ValueError) as error:
        say(f"servers: {error}")
        return 1
    return 0


def up() -> None:
    """Start PostgreSQL and Redis, unless they run, and say where they are."""
    urls = compose.up() if _with_docker() else local.up()
    places.remember(urls)
    say("make db-migrate and make run-… find them by themselves; for anything else:")
    for name, url in urls.items():
        print(f"export {name}={url}", flush=True)


def down() -> None:
    """Stop what `up` started, whichever way."""
    stopped = local.down()
    if compose.is_up():
        compose.down()
    elif not stopped:
        say("nothing was up")


def _with_docker() -> bool:
    chosen = os.environ.get("FLUX_SERVERS")
    if chosen:
        if chosen not in _CHOICES:
            raise ValueError(f"FLUX_SERVERS={chosen} is neither of {', '.join(_CHOICES)}")
        return chosen == "docker"
    return not local.is_up() and compose.is_usable()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
