"""What people type into the search box, as a filter of jobs, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flux.dashboard.http import Query
from flux.domain.duration import parse_instant
from flux.domain.ids import is_id
from flux.domain.job import JobState
from flux.domain.request import type_name
from flux.engine.ports import JobFilter

_TOKEN = re.compile(r'(?:(?P<field>[A-Za-z_]+(?:\.[^\s:"]+)?):)?(?P<value>"(?:[^"\\]|\\.)*"|\S+)')

FIELDS = ("type", "queue", "state", "tag", "key", "error", "worker", "schedule", "payload.path")


@dataclass(slots=True)
class Search:
    """A search as it was understood. ``jump`` is an id that was pasted; ``terms`` are (shown, text without it)."""

    filter: JobFilter
    terms: list[tuple[str, str]]
    problems: list[str]
    jump: str | None = None


def read_search(query: Query) -> Search:
    """Understand ``q`` and ``state`` of a URL. What is not understood is said and left out, never guessed at."""
    text = query.get("q").strip()
    if is_id(text):
        return Search(JobFilter(), [], [], jump=text)
    found = Search(JobFilter(), [], [])
    payload: list[tuple[str, str]] = []
    words: list[str] = []
    states = [state for state in query.all("state") if _state(state, found)]
    single: dict[str, str | int] = {}
    for match in _TOKEN.finditer(text):
        field, value = match["field"], _unquoted(match["value"])
        shown = match.group()
        if field is None:
            words.append(value)
        elif field.startswith("payload."):
            payload.append((field.removeprefix("payload."), value))
        elif field == "state":
            if not _state(value, found):
                continue
            states.append(value)
        elif field in ("type", "queue", "tag", "key", "error"):
            single[field] = value
        elif field in ("worker", "schedule", "workflow"):
            single[f"{field}_id"] = value
        elif field in ("after", "before"):
            try:
                single[f"created_{field}"] = parse_instant(value)
            except ValueError as error:
                found.problems.append(str(error))
                continue
        else:
            found.problems.append(f"“{field}:” is not something to search by; {', '.join(FIELDS)} are")
            continue
        if field is not None:
            found.terms.append((shown, _without(text, match.start(), match.end())))
    if words:
        # One word is most likely a type that somebody has in mind; several are a message they saw.
        name = "type" if len(words) == 1 and type_name(words[0]) and "type" not in single else "error"
        single.setdefault(name, " ".join(words))
        found.terms.append((f"{name}:{quoted(' '.join(words))}", _without_words(text)))
    found.filter = JobFilter(
        states=tuple(JobState(state) for state in dict.fromkeys(states)),
        payload=tuple(payload),
        **single,  # type: ignore[arg-type]
    )
    return found


def quoted(value: str) -> str:
    """A value as the search box wants it."""
    if value and not re.search(r'[\s"]', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _state(value: str, found: Search) -> bool:
    if value in JobState._value2member_map_:
        return True
    found.problems.append(f"“{value}” is not a state; {', '.join(JobState)} are")
    return False


def _without(text: str, start: int, end: int) -> str:
    return " ".join((text[:start] + " " + text[end:]).split())


def _without_words(text: str) -> str:
    return " ".join(match.group() for match in _TOKEN.finditer(text) if match["field"] is not None)
