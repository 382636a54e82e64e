"""Queues and what people set on them."""

from __future__ import annotations

from typing import Protocol

import msgspec


class QueueSettings(msgspec.Struct, kw_only=True):
    """What people set on a queue. ``max_depth`` bounds its waiting jobs (None: no bound)."""

    name: str
    paused: bool = False
    paused_at: int | None = None
    paused_by: str | None = None
    max_depth: int | None = None


class QueueView(msgspec.Struct, kw_only=True):
    """A queue as people see it: settings, depth by state (sampled each second), oldest available job's ``run_at``."""

    settings: QueueSettings
    depth: dict[str, int]
    oldest: int | None
    sampled_at: int | None


class Queues(Protocol):
    """Queues and what people set on them. A queue exists from its first job or setting on."""

    async def set(
        self, name: str, *, paused: bool | None, by: str | None, max_depth: int | None, clear_depth: bool
    ) -> QueueSettings:
        """Change settings; None leaves one as it is, ``clear_depth`` lifts the bound."""
        ...

    async def list(self) -> list[QueueView]:
        """All queues, by name."""
        ...
