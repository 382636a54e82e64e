"""Bars, drawn as SVG by hand: one panel a figure, Flux in colour, a whisker from the lowest round to the highest."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

PANEL, GAP, NAMES, ROW, HEAD, MARGIN = 300, 28, 150, 20, 34, 16
OURS, THEIRS, INK, QUIET = "#0b6e4f", "#9aa5b1", "#1f2933", "#52606d"


@dataclass(frozen=True)
class Bar:
    """One peer's median, with its lowest and highest round."""

    name: str
    value: float
    low: float
    high: float
    ours: bool


def draw(panels: dict[str, list[Bar]], titles: dict[str, str], caption: str) -> str:
    """A picture of all panels side by side, on a white ground of its own, so that dark pages show it too."""
    rows = max((len(bars) for bars in panels.values()), default=0)
    lines = _wrapped(caption, 230)
    width = MARGIN * 2 + len(panels) * (NAMES + PANEL) + (len(panels) - 1) * GAP
    height = MARGIN * 2 + HEAD + rows * ROW + 14 + 14 * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape("; ".join(titles.values()))}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, (figure, bars) in enumerate(panels.items()):
        left = MARGIN + number * (NAMES + PANEL + GAP)
        parts.append(_text(left, MARGIN + 14, titles[figure], weight="600"))
        parts += _panel(bars, left, MARGIN + HEAD)
    for number, line in enumerate(lines):
        parts.append(_text(MARGIN, height - MARGIN - 14 * (len(lines) - 1 - number), line, QUIET, size=10))
    return "\n".join([*parts, "</svg>", ""])


def _panel(bars: list[Bar], left: int, top: int) -> list[str]:
    # Room for the figure behind the longest bar.
    scale = (PANEL - 60) / max((bar.high for bar in bars), default=1)
    start = left + NAMES
    parts = []
    for row, bar in enumerate(bars):
        y = top + row * ROW
        colour = OURS if bar.ours else THEIRS
        middle = y + 7
        end = start + bar.high * scale
        parts += [
            _text(start - 6, y + 11, bar.name, weight="600" if bar.ours else "400", anchor="end"),
            f'<rect x="{start}" y="{y}" width="{bar.value * scale:.1f}" height="14" rx="2" fill="{colour}"/>',
            f'<path d="M{start + bar.low * scale:.1f} {middle}H{end:.1f}" stroke="{INK}" stroke-opacity=".55"/>',
            _text(end + 5, y + 11, f"{bar.value:,.1f}" if bar.value < 100 else f"{bar.value:,.0f}"),
        ]
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    colour: str = INK,
    weight: str = "400",
    anchor: str = "start",
    size: int = 12,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-weight="{weight}" font-size="{size}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
