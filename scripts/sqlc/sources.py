"""Where the statements stand: file and line of each ``-- name:``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from scripts.sqlc.wrong import Wrong

PROJECT: Final = Path(__file__).resolve().parents[2]
STORES: Final = PROJECT / "src" / "flux" / "stores"

_NAME: Final = "-- name:"


class Source(NamedTuple):
    """A statement in its file. ``lines``: the numbers of the lines that it is made of, without comments."""

    file: Path
    name: str
    line: int
    lines: tuple[int, ...]

    def wrong(self, sentence: str, *, newlines: int | None = None) -> str:
        """The line that names a mistake; ``newlines``: how many of them stand before it in the statement."""
        line = self.line if newlines is None else self.lines[newlines]
        return f"{self.file.relative_to(PROJECT)}:{line}: {self.name}: {' '.join(sentence.split())}"


def sources(store: str) -> list[Source]:
    """The statements of a store, in the order of its files. Raises ``Wrong`` for a name that stands twice."""
    found: list[Source] = []
    twice: list[str] = []
    lines_of: dict[str, Source] = {}
    for file in sorted((STORES / store / "queries").glob("*.sql")):
        lines = file.read_text("utf-8").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith(_NAME)]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            body = [
                n + 1 for n in range(start + 1, end) if lines[n].strip() and not lines[n].startswith("--")
            ]
            source = Source(file, lines[start].removeprefix(_NAME).strip(), start + 1, tuple(body))
            if source.name in lines_of:
                other = lines_of[source.name]
                twice.append(source.wrong(f"{other.file.name}:{other.line} has a statement of this name"))
            lines_of[source.name] = source
            found.append(source)
    if twice:
        raise Wrong(twice)
    return found
