"""`make sqlc-generate`: check every `.sql` statement, and write what is derived from them.

Usage: python -m scripts.sqlc [--check]

``--check`` writes nothing and fails when the result differs from what is there. DATABASE_URL names a PostgreSQL in
which a scratch database may be made; without it one is started for the moment.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from scripts.servers.programs import ProgramMissing
from scripts.servers.server import ServerFailed
from scripts.servers.talk import say
from scripts.sqlc import derived, sqlite
from scripts.sqlc.scratch import scratch_database
from scripts.sqlc.wrong import Wrong

_ERRORS: Final = (Wrong, ServerFailed, ProgramMissing, OSError)


def main(words: list[str]) -> int:
    """Do what the words say; the exit code."""
    if words not in ([], ["--check"]):
        say((__doc__ or "").strip())
        return 2
    try:
        sqlite.check()
        with scratch_database() as url:
            files = asyncio.run(derived.derive(url))
        differing = derived.differences(files)
        if words:
            if differing:
                print("\n".join(differing.values()))
                raise Wrong([f"{file} is not what `make sqlc-generate` writes" for file in differing])
        else:
            derived.write(files)
    except _ERRORS as error:
        say(f"sqlc: {error}")
        return 1
    say(
        f"sqlc: every statement is good; {'as committed' if not differing else 'wrote ' + ', '.join(differing)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
