"""Reliability diagrams: the observed share of right answers against the predicted probability, as a file of SVG."""

from collections.abc import Mapping, Sequence
from html import escape

from matching.verdict.fitting import clopper_pearson
from matching.verdict.reliability import Bin, calibration_error

SIDE, LEFT, TOP, RIGHT, BOTTOM = 240, 46, 40, 14, 42  # pixels of the square of a panel, and around it
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {font}>'
)
FONT = 'font-family="sans-serif" font-size="11" fill="#333"'


def reliability_chart(panels: Mapping[str, Sequence[Bin]]) -> str:
    """Panels side by side, each with a dot, its 95 % interval (Clopper-Pearson) and its count for each bin.

    Args:
      panels: the bins by title.

    Returns:
      An SVG document.
    """
    step, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    parts = [
        HEAD.format(width=step * len(panels), height=height, font=FONT),
        '<rect fill="#fff" width="100%" height="100%"/>',
    ]
    for place, (title, bins) in enumerate(panels.items()):
        parts += [f'<g transform="translate({place * step + LEFT} {TOP})">', *_panel(title, bins), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, bins: Sequence[Bin]) -> list[str]:
    count = sum(one.count for one in bins)
    parts = [
        f'<text y="-22" font-weight="bold">{escape(title)}</text>',
        f'<text y="-7">{count} answers, error {calibration_error(bins):.3f}</text>',
        f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>',
        f'<path d="M0 {SIDE}L{SIDE} 0" stroke="#bbb" stroke-dasharray="4 4"/>',
        f'<text x="{SIDE / 2}" y="{SIDE + 32}" text-anchor="middle">predicted probability</text>',
        f'<text transform="translate(-32 {SIDE / 2}) rotate(-90)" text-anchor="middle">observed share</text>',
    ]
    for tick in (0, 0.5, 1):
        parts.append(f'<text x="{tick * SIDE}" y="{SIDE + 15}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="-6" y="{(1 - tick) * SIDE + 4}" text-anchor="end">{tick:g}</text>')
    for one in bins:
        x, y = one.predicted * SIDE, (1 - one.observed) * SIDE
        low, high = ((1 - end) * SIDE for end in clopper_pearson(one.right, one.count))
        tip = f"{one.right} of {one.count} right, predicted {one.predicted:.3f}"
        anchor, beside = ("end", -7) if one.predicted > 0.5 else ("start", 7)
        parts.append(
            f'<g><title>{tip}</title><path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="#1f6fb2"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f6fb2"/>'
            f'<text x="{x + beside:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{one.count}</text></g>'
        )
    return parts
