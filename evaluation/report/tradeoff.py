"""A chart of quality against time and memory of all rows, as inline SVG."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from evaluation.report.model import Report

WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 40, 22, 44
LETTER, LINE = 7.6, 15.0  # width of a letter and height of a line of the labels
SMALL, LARGE = 3.5, 11.0  # radii for the fewest and for the most bytes
GAP = 5.0  # between a dot and its label
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Dot:
    """The dot of a row, in units of the picture."""

    x: float
    y: float
    radius: float
    name: str
    tip: str

    @property
    def box(self) -> Box:
        """The square around the dot."""
        return self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius


def tradeoff(report: Report, protocol: str) -> str | None:
    """A dot for each row: milliseconds per query to the right (logarithmic), quality upwards, size by bytes per image.

    Args:
      report: the results.
      protocol: the protocol of the main measure.

    Returns:
      An ``<svg>`` element; None where fewer than two rows have a value and a time.
    """
    points = []
    for row in report.rows:
        quality, time = row.metrics[protocol][report.measure], sum(row.ms_per_query.values())
        if not math.isnan(quality) and time > 0:
            points.append((time, quality, sum(row.bytes_per_image.values()), row.method))
    if len(points) < 2:
        return None
    low = math.floor(math.log10(min(dot[0] for dot in points)))
    high = max(math.ceil(math.log10(max(dot[0] for dot in points))), low + 1)
    most = max(1.0, *(dot[2] for dot in points))
    dots = [
        Dot(
            _x(time, low, high),
            _y(quality),
            SMALL + (LARGE - SMALL) * math.sqrt(size / most),
            name,
            f"{name}: {report.measure} {quality:.2f}, {time:.2f} ms, {size:.0f} bytes",
        )
        for time, quality, size, name in points
    ]
    title = f"{report.measure} ({protocol}) against milliseconds per query; larger dots take more bytes per image"
    parts = [f'<svg class="chart tradeoff" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += [*_grid(low, high), *_marks(dots), "</svg>"]
    return "\n".join(parts)


def _marks(dots: Sequence[Dot]) -> list[str]:
    """The dots, and over the dots the labels; a label covers neither a dot nor an earlier label."""
    circles, labels = [], []
    occupied = [dot.box for dot in dots]
    for dot in sorted(dots, key=lambda dot: (dot.y, dot.x)):
        box = next(
            (box for box in _places(dot) if not any(_meet(box, obstacle) for obstacle in occupied)),
            _last(dot, occupied),
        )
        occupied.append(box)
        y, beside = box[3] - 4, abs((box[1] + box[3]) / 2 - dot.y) <= dot.radius + LINE
        x, anchor = _anchored(box, dot)
        line = f'<line class="leader" x1="{dot.x:.1f}" y1="{dot.y:.1f}" x2="{x:.1f}" y2="{y - 4:.1f}"/>'
        circles.append(
            f"<g><title>{escape(dot.tip)}</title>{'' if beside else line}"
            f'<circle cx="{dot.x:.1f}" cy="{dot.y:.1f}" r="{dot.radius:.1f}"/></g>'
        )
        labels.append(f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(dot.name)}</text>')
    return circles + labels


def _anchored(box: Box, dot: Dot) -> tuple[float, str]:
    """The anchor of a label at the side of the box next to the dot, because the label's width is an estimate."""
    if box[0] > dot.x:
        return box[0], "start"
    return (box[2], "end") if box[2] < dot.x else ((box[0] + box[2]) / 2, "middle")


def _places(dot: Dot) -> Iterator[Box]:
    """Boxes for a dot's label, the best first: beside the dot, above, below, then further away with a line."""
    width = LETTER * len(dot.name)
    right, left, middle = dot.x + dot.radius + GAP, dot.x - dot.radius - GAP - width, dot.x - width / 2
    near = [(right, 0.0), (left, 0.0), (middle, -dot.radius - LINE / 2 - 1), (middle, dot.radius + LINE / 2 + 1)]
    steps = [step * LINE * sign for step in (1, 1.5, 2, 3) for sign in (-1, 1)]
    distant = [(x, step) for step in steps for x in (right, left)]
    for x, shift in near + distant:
        box = x, dot.y + shift - LINE / 2, x + width, dot.y + shift + LINE / 2
        if box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM:
            yield box


def _last(dot: Dot, occupied: Sequence[Box]) -> Box:
    """A box in the column right of a dot, below all other boxes; for very full pictures."""
    width = LETTER * len(dot.name)
    x = min(dot.x + dot.radius + GAP, WIDTH - width)
    low = max([dot.y, *(box[3] for box in occupied if box[0] < x + width and x < box[2])])
    return x, low, x + width, low + LINE


def _meet(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


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
