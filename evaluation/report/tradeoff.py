"""Quality against time and memory of all rows, as inline SVG."""

import math
from html import escape

from evaluation.report.model import Report

WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 190, 16, 44
LETTER, LINE = 8.0, 15.0  # width of a letter and height of a line of the labels
SMALL, LARGE = 4.0, 15.0  # radius of the least and of the most bytes


def tradeoff(report: Report, protocol: str) -> str | None:
    """A dot for each row: milliseconds per query to the right (logarithmic), mAP upwards, its size by bytes per image.

    Args:
      report: the results.
      protocol: whose mAP.

    Returns:
      An ``<svg>`` element; None where fewer than two rows have a value and a time.
    """
    dots = []
    for row in report.rows:
        quality, time = row.metrics[protocol]["mAP"], sum(row.ms_per_query.values())
        if not math.isnan(quality) and time > 0:
            dots.append((time, quality, sum(row.bytes_per_image.values()), row.method))
    if len(dots) < 2:
        return None
    low = math.floor(math.log10(min(dot[0] for dot in dots)))
    high = max(math.ceil(math.log10(max(dot[0] for dot in dots))), low + 1)
    most = max(1.0, *(dot[2] for dot in dots))
    title = f"mAP ({protocol}) against milliseconds per query; larger dots take more bytes per image"
    parts = [f'<svg class="chart tradeoff" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += _grid(low, high)
    labels: list[tuple[float, float, float]] = []
    for time, quality, size, name in sorted(dots, key=lambda dot: -dot[1]):
        x, y = _x(time, low, high), _y(quality)
        radius = SMALL + (LARGE - SMALL) * math.sqrt(size / most)
        left = x + radius + 5
        place = _free(labels, left, y + 4, left + LETTER * len(name))
        tip = f"{name}: mAP {quality:.2f}, {time:.2f} ms, {size:.0f} bytes"
        parts.append(
            f'<g><title>{escape(tip)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
            f'<text x="{left:.1f}" y="{place:.1f}">{escape(name)}</text></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _free(labels: list[tuple[float, float, float]], left: float, y: float, right: float) -> float:
    """The first height from ``y`` down where a label touches none of those before it, to which it is added."""
    while any(abs(y - other) < LINE and left < end and start < right for start, other, end in labels):
        y += 1
    labels.append((left, y, right))
    return y


def _x(time: float, low: int, high: int) -> float:
    return LEFT + (math.log10(time) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _y(percent: float) -> float:
    return TOP + (1 - percent / 100) * (HEIGHT - TOP - BOTTOM)


def _grid(low: int, high: int) -> list[str]:
    """Lines at each 25 % and each power of ten."""
    lines = []
    for percent in range(0, 101, 25):
        y = _y(percent)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>')
    for power in range(low, high + 1):
        x = _x(10.0**power, low, high)
        lines.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        label = f"{10.0**power:g} ms"
        lines.append(f'<text class="axis" x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    return lines
