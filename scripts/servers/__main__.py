"""`make db-up` and `make db-down`."""

from __future__ import annotations

import sys

from scripts.servers.programs import ProgramMissing, describe


def main() -> int:
    try:
        print(describe())
    except ProgramMissing as error:
        print(error)
        return 1
    return 0


sys.exit(main())
