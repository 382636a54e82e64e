"""What every page and action is handed, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flux.dashboard.http import Query, Request
from flux.dashboard.shared import Shared
from flux.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Site:
    """One dashboard: the engine it shows and the answers its viewers share."""

    engine: Engine
    shared: Shared
    api_url: str


@dataclass(slots=True)
class View:
    """A page before it is rendered: a template and what it shows. ``tab`` is the item of the menu it belongs to."""

    template: str
    title: str
    tab: str
    data: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    forward: str | None = None
    """The path inside the dashboard that the browser is sent to instead."""


@dataclass(frozen=True, slots=True)
class Done:
    """What an action did, in words. ``go`` is the path inside the dashboard to show next (None: where one was)."""

    text: str
    go: str | None = None
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """What a page is asked for: its query, the parts of its path, the store's time as far as we know it."""

    query: Query
    parts: dict[str, str]
    now: int


Page: TypeAlias = Callable[[Site, Ask], Awaitable[View]]
Action: TypeAlias = Callable[[Site, Query, dict[str, str], Request], Awaitable[Done]]
