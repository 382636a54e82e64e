"""What this process has put right, counted for its metrics."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """``rescues``: running jobs that this process's scheduler took back from lost workers or past their deadline.
    ``reconciliations``: jobs that its worker held on paper only, after a claim whose answer was lost.
    """

    rescues: int = 0
    reconciliations: int = 0
