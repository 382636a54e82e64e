"""Where a job's time went: delay, waiting, each attempt's run, the waits between attempts."""

from __future__ import annotations

from dataclasses import dataclass

from flux.dashboard.words import span
from flux.domain.job import Job

WIDTH = 1000
LEAST = 6
MOST_PIECES = 40


@dataclass(slots=True)
class Piece:
    """One stretch of the bar. ``x`` and ``width`` are in thousandths of it."""

    kind: str
    label: str
    us: int
    x: float = 0
    width: float = 0

    @property
    def text(self) -> str:
        """Its tooltip and its line of the legend."""
        return f"{self.label}: {span(self.us)}"


def time_bar(job: Job, now: int) -> list[Piece]:
    """The pieces of a job's life, left to right; none before its first start."""
    pieces: list[Piece] = []
    at = job.created_at

    def add(kind: str, label: str, until: int | None) -> None:
        nonlocal at
        if until is not None and until > at:
            pieces.append(Piece(kind, label, until - at))
            at = until

    attempts = [one for one in job.attempts or [] if one.started_at is not None]
    for index, attempt in enumerate(attempts):
        started = attempt.started_at
        assert started is not None
        if index == 0:
            if len(attempts) == 1 and attempt.number == 1:
                # run_at moves with every retry, so only a first attempt's wait can be told from its delay.
                add("delay", "delay", min(job.run_at, started))
            add("wait", "waited for a slot", started)
        else:
            add("again", f"waited before attempt {attempt.number}", started)
        if attempt.outcome is None:
            add("run", f"attempt {attempt.number} runs", now)
        else:
            kind = {"succeeded": "good", "cancelled": "off"}.get(attempt.outcome, "bad")
            add(kind, f"attempt {attempt.number} {attempt.outcome}", attempt.finished_at)
    pieces = pieces[:MOST_PIECES]
    return _laid_out(pieces)


def _laid_out(pieces: list[Piece]) -> list[Piece]:
    """Widths in proportion, but none so small that it cannot be seen."""
    total = sum(piece.us for piece in pieces)
    if not total:
        return []
    free = WIDTH - LEAST * len(pieces)
    x = 0.0
    for piece in pieces:
        piece.x = round(x, 1)
        piece.width = round(LEAST + free * piece.us / total, 1)
        x += piece.width
    return pieces
