"""What came out: tables for people, JSON for machines, a chart for the README."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.peers import chart
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.measure import Round
from benchmarks.peers.servers import POSTGRES_SETTINGS

FIGURES = {
    "drain": "drain (jobs/s)",
    "drain_settled": "until its store says finished",
    "insert": "bulk insert (jobs/s)",
    "single_1": "single, 1 caller (jobs/s)",
    "single_32": "single, 32 callers (jobs/s)",
    "pickup_p50": "pickup p50 (ms)",
    "pickup_p99": "pickup p99 (ms)",
}
TITLES = {
    "drain_settled": "drain, jobs/s (more is better)",
    "insert": "bulk insert, jobs/s (more is better)",
    "pickup_p50": "pickup when idle, p50, ms (less is better)",
}
COSTS = {"cpu_worker": "worker", "cpu_postgres": "PostgreSQL", "cpu_redis": "Redis"}
RATIOS = ("drain", "drain_settled", "insert", "single_1", "single_32")


class Results:
    """The figures of every round that worked, and why the others did not."""

    def __init__(self, size: Round, rounds: int, python: str) -> None:
        self.versions: dict[str, str] = {}
        self.servers: dict[str, str] = {}
        self._size = size
        self._rounds = rounds
        self._python = python
        self._peers: list[Peer] = []
        self._taken: dict[str, list[dict[str, float]]] = {}
        self._failures: dict[str, str] = {}

    def add(self, peer: Peer) -> None:
        """Name a peer that is measured."""
        self._peers.append(peer)
        self._taken[peer.name] = []

    def take(self, peer: Peer, figures: dict[str, float]) -> None:
        """Keep a round."""
        self._taken[peer.name].append(figures)

    def fail(self, peer: Peer, reason: str) -> None:
        """Keep why a peer is measured no further."""
        self._failures[peer.name] = reason

    def failed(self, peer: Peer) -> bool:
        """Whether it did."""
        return peer.name in self._failures

    def tables(self) -> str:
        """Everything, as Markdown."""
        parts = [self._about(), self._figures(), self._costs(), self._settings()]
        if ratios := self._ratios():
            parts.insert(2, ratios)
        return "\n\n".join(parts)

    def write(self, folder: Path) -> None:
        """``peers.json`` and ``peers.svg``."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._as_json(), indent=1, ensure_ascii=False)
        (folder / "peers.json").write_text(text + "\n", "utf-8")
        bars = {figure: self._bars(figure) for figure in ("drain_settled", "insert", "pickup_p50")}
        (folder / "peers.svg").write_text(chart.draw(bars, TITLES, self._about()), "utf-8")

    def _about(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in POSTGRES_SETTINGS.items())
        servers = ", ".join(f"{name} {version}" for name, version in self.servers.items())
        return (
            f"{datetime.now(UTC):%Y-%m-%d}, {machine.describe(self._python)}, {servers}; medians of "
            f"{self._rounds} rounds in alternation (lowest to highest), {self._size.jobs:,} jobs a drain. "
            f"PostgreSQL: {settings}. Redis: its default snapshots, no log of each write."
        )

    def _figures(self) -> str:
        heads = [*FIGURES.values()]
        rows = [["peer", "store", "worker", *heads], ["---"] * (3 + len(heads))]
        for peer in self._peers:
            first = [f"{peer.name} {self.versions.get(peer.name, '')}".strip(), peer.store, peer.worker]
            if self._taken[peer.name]:
                rows.append([*first, *(self._spread(peer, figure) for figure in FIGURES)])
            if self.failed(peer):
                rows.append([*first, f"failed: {self._failures[peer.name]}", *[""] * (len(heads) - 1)])
        return _table(rows)

    def _costs(self) -> str:
        heads = ["processor of one job of a drain (us)", *COSTS.values(), "all"]
        rows = [heads, ["---"] * len(heads)]
        for peer in self._peers:
            if self._taken[peer.name]:
                costs = [statistics.median(self._values(peer, cost)) for cost in COSTS]
                rows.append([peer.name, *(f"{cost:,.0f}" for cost in [*costs, sum(costs)])])
        return _table(rows)

    def _ratios(self) -> str:
        ours = [peer for peer in self._peers if peer.is_flux and self._taken[peer.name]]
        others = [peer for peer in self._peers if not peer.is_flux and self._taken[peer.name]]
        heads = [f"{mine.name}, {FIGURES[figure].split(' (')[0]}" for mine in ours for figure in RATIOS]
        if not ours or not others:
            return ""
        rows = [["ratio to", *heads], ["---"] * (1 + len(heads))]
        for peer in others:
            ratios = [self._ratio(mine, peer, figure) for mine in ours for figure in RATIOS]
            rows.append([peer.name, *(f"{ratio:.2f}" for ratio in ratios)])
        return _table(rows)

    def _settings(self) -> str:
        rows = [["peer", "settings", "jobs of a drain"], ["---"] * 3]
        rows += [[p.name, p.settings, f"{max(1, self._size.jobs // p.share):,}"] for p in self._peers]
        return _table(rows)

    def _values(self, peer: Peer, figure: str) -> list[float]:
        return [found[figure] for found in self._taken[peer.name]]

    def _spread(self, peer: Peer, figure: str) -> str:
        values = self._values(peer, figure)
        digits = 1 if "ms" in FIGURES[figure] else 0
        low, middle, high = (f"{f(values):,.{digits}f}" for f in (min, statistics.median, max))
        return f"{middle} ({low} to {high})"

    def _ratio(self, mine: Peer, other: Peer, figure: str) -> float:
        # Round by round, so that a slow minute of the machine is on both sides.
        pairs = zip(self._values(mine, figure), self._values(other, figure), strict=False)
        return statistics.median(a / b for a, b in pairs)

    def _bars(self, figure: str) -> list[chart.Bar]:
        bars = [
            chart.Bar(peer.name, statistics.median(values), min(values), max(values), peer.is_flux)
            for peer in self._peers
            if (values := self._values(peer, figure))
        ]
        return sorted(bars, key=lambda bar: bar.value, reverse=not figure.startswith("pickup"))

    def _as_json(self) -> dict[str, Any]:
        return {
            "about": self._about(),
            "python": self._python,
            "servers": self.servers,
            "peers": {
                peer.name: {
                    "version": self.versions.get(peer.name),
                    "store": peer.store,
                    "worker": peer.worker,
                    "settings": peer.settings,
                    "jobs": max(1, self._size.jobs // peer.share),
                    "failure": self._failures.get(peer.name),
                    "rounds": self._taken[peer.name],
                }
                for peer in self._peers
            },
        }


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows)
