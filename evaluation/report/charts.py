"""The chart of average precision per query before and after reranking, as inline SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 1000, 280
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 14, 30
EQUAL = 0.05  # percent points that count as no change
MOST = 2000  # largest number of queries in a chart


@dataclass(frozen=True)
class Change:
    """The number of queries that a reranker improved or worsened.

    Attributes:
      better: queries whose average precision rose.
      equal: queries that stayed within 0.05 points.
      worse: queries whose average precision fell.
      mean: mean change in percent points.
    """

    better: int
    equal: int
    worse: int
    mean: float


def change(before: Sequence[float], after: Sequence[float]) -> Change:
    """Counts the changes; queries without a value are left out.

    >>> change([10.0, 20.0, math.nan], [30.0, 20.0, math.nan])
    Change(better=1, equal=1, worse=0, mean=10.0)
    """
    moves = [b - a for a, b in zip(before, after, strict=True) if not math.isnan(a) and not math.isnan(b)]
    better, worse = sum(move > EQUAL for move in moves), sum(move < -EQUAL for move in moves)
    return Change(better, len(moves) - better - worse, worse, sum(moves) / len(moves) if moves else math.nan)


def ap_chart(names: Sequence[str], before: Sequence[float], after: Sequence[float], title: str) -> str:
    """A chart with a line per query from the value before to the value after, worst query first; at most 2,000 lines.

    Args:
      names: names of the queries.
      before: average precision of each query in percent; NaN is left out.
      after: the same after reranking.
      title: description of the chart for screen readers.

    Returns:
      An ``<svg>`` element, coloured by the page's style sheet.
    """
    values = [(a, b, name) for name, a, b in zip(names, before, after, strict=True) if not math.isnan(a + b)]
    values.sort(key=lambda value: (value[0], value[1]))
    count = len(values)
    if count > MOST:
        values = [values[(2 * i + 1) * count // (2 * MOST)] for i in range(MOST)]
    step = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    radius = min(4.0, max(1.2, 0.32 * step))
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_grid(),
    ]
    for i, (a, b, name) in enumerate(values):
        parts.append(_mark(LEFT + (i + 0.5) * step, a, b, radius, name))
    label = f"{count} queries, worst first" + (f"; {MOST} of them shown, evenly taken" if count > MOST else "")
    parts.append(f'<text class="axis" x="{LEFT}" y="{HEIGHT - 8}">{label}</text></svg>')
    return "\n".join(parts)


def _y(percent: float) -> float:
    return TOP + (1 - percent / 100) * (HEIGHT - TOP - BOTTOM)


def _grid() -> list[str]:
    lines = []
    for percent in range(0, 101, 25):
        y = _y(percent)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>')
    return lines


def _mark(x: float, before: float, after: float, radius: float, name: str) -> str:
    """A query's mark: a hollow dot before, a line, a full dot after."""
    kind = "up" if after - before > EQUAL else "down" if after - before < -EQUAL else "same"
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_y(before):.1f}" y2="{_y(after):.1f}"/>'
    dots = (
        f'<circle class="before" cx="{x:.1f}" cy="{_y(before):.1f}" r="{radius:.1f}"/>'
        f'<circle class="after" cx="{x:.1f}" cy="{_y(after):.1f}" r="{radius:.1f}"/>'
    )
    tip = f"<title>{escape(name)}: {before:.1f} to {after:.1f}</title>"
    return f'<g class="{kind}">{tip}{line}{dots}</g>'
