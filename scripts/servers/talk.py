"""What people read goes to stderr, so that stdout is only what a shell may evaluate."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
