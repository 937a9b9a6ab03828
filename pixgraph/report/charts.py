"""Line charts as inline SVG that takes its colours from the page, so that it reads in the dark and the light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 26


@dataclass(frozen=True)
class Series:
    """A named line.

    Attributes:
        name: What the legend calls it.
        points: (x, y), x ascending; points whose y is not finite are left out.
        style: CSS class: ``"s1"``.. for data, ``"reference"`` for a level to compare with.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "s1"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, that cover the range with at most `most` + 1 of them.

    Example:
        >>> ticks(0.0, 0.43)
        [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    """
    if high <= low:
        high = low + (abs(low) or 1.0)
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def thin(points: Sequence[tuple[float, float]], most: int = 160) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of as many neighbours: a noisy loss becomes a line that can be read."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = -(-len(finite) // most)
    if size <= 1:
        return finite
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def line_chart(title: str, series: Sequence[Series], percent: bool = False) -> str:
    """A line chart with a legend; empty text when no series has a point.

    Args:
        title: Heading, also the chart's name for screen readers.
        series: The lines; drawn in order.
        percent: Label the y axis in percent of 1.
    """
    lines = [Series(s.name, thin(s.points), s.style) for s in series]
    lines = [s for s in lines if s.points]
    if not lines:
        return ""
    xs = [x for s in lines for x, _ in s.points]
    ys = [y for s in lines for _, y in s.points]
    x_ticks, y_ticks = ticks(min(xs), max(xs), 4), ticks(min(0.0, *ys), max(ys), 5)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1e-9)

    def place(x: float, y: float) -> tuple[float, float]:
        """Position of a point in the picture."""
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title, quote=True)}">']
    for y in y_ticks:
        _, top = place(x_low, y)
        text = f"{100 * y:g}%" if percent else f"{y:g}"
        parts.append(f'<path class="grid" d="M{LEFT} {top:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{top + 3.5:.1f}" text-anchor="end">{text}</text>')
    for x in x_ticks:
        if x_low <= x <= x_high:
            left, _ = place(x, y_ticks[0])
            anchor = "end" if left > WIDTH - RIGHT - 12 else "middle"
            parts.append(f'<text x="{left:.1f}" y="{HEIGHT - 9}" text-anchor="{anchor}">{x:g}</text>')
    for s in lines:
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in s.points)
        parts.append(f'<path class="line {s.style}" d="M{path}"/>')
        if len(s.points) == 1:
            left, top = place(*s.points[0])
            parts.append(f'<circle class="dot {s.style}" cx="{left:.1f}" cy="{top:.1f}" r="3"/>')
    parts.append("</svg>")
    keys = "".join(f'<span class="key {s.style}">{escape(s.name)}</span>' for s in lines)
    legend = keys if len(lines) > 1 else ""
    caption = f'<figcaption>{escape(title)}<span class="keys">{legend}</span></figcaption>'
    return f'<figure class="chart">{caption}{"".join(parts)}</figure>'
