"""The silhouette of a facade: outlines of the roof line, and the tiling of the roofs that are not wall."""

from collections.abc import Callable

import cv2
import numpy as np

from evaluation.synthetic.style import Style, shade
from evaluation.synthetic.walls import coloured, grain

Points = list[tuple[float, float]]

TILED = ("dome", "mansard", "towers")


def _gable(rng: np.random.Generator, width: int, eaves: float) -> Points:
    apex = width * rng.uniform(0.42, 0.58)
    return [(0, eaves), (apex, 0), (width, eaves)]


def _stepped(rng: np.random.Generator, width: int, eaves: float) -> Points:
    steps, flat = int(rng.integers(3, 6)), rng.uniform(0.12, 0.25)
    edges = np.linspace(0, 0.5 - flat / 2, steps + 1)
    left: Points = []
    for k in range(steps):
        left += [(width * edges[k], eaves * (1 - k / steps)), (width * edges[k + 1], eaves * (1 - k / steps))]
    left.append((width * edges[-1], 0.0))
    return left + [(width - x, y) for x, y in reversed(left)]


def _battlement(rng: np.random.Generator, width: int, eaves: float) -> Points:
    merlons, depth = int(rng.integers(5, 10)), eaves * rng.uniform(0.25, 0.5)
    edges = np.linspace(0, width, 2 * merlons)
    points: Points = []
    for k in range(2 * merlons - 1):
        y = eaves - depth if k % 2 == 0 else eaves
        points += [(edges[k], y), (edges[k + 1], y)]
    return points


def _dome(rng: np.random.Generator, width: int, eaves: float) -> Points:
    reach = width * rng.uniform(0.22, 0.4)
    angles = np.linspace(np.pi, 0, 21)
    arc: Points = [(width / 2 + reach * np.cos(a), eaves * (1 - np.sin(a))) for a in angles]
    return [(0, eaves), *arc, (width, eaves)]


def _mansard(rng: np.random.Generator, width: int, eaves: float) -> Points:
    slope = width * rng.uniform(0.05, 0.16)
    return [(0, eaves), (slope, 0.15 * eaves), (width - slope, 0.15 * eaves), (width, eaves)]


def _towers(rng: np.random.Generator, width: int, eaves: float) -> Points:
    span, drop = width * rng.uniform(0.18, 0.27), eaves * rng.uniform(0.3, 0.6)
    left: Points = [(0, eaves), (0, drop), (span / 2, 0), (span, drop), (span, eaves)]
    return left + [(width - x, y) for x, y in reversed(left)]


def _dutch(rng: np.random.Generator, width: int, eaves: float) -> Points:
    along = np.linspace(0, 1, 15)
    power = rng.uniform(1.6, 3.2)
    shoulder = rng.uniform(0.3, 0.42) * width
    left: Points = [(shoulder * t, eaves * (1 - 0.75 * t**power)) for t in along]
    left += [(shoulder, 0.12 * eaves), (0.45 * width, 0.0)]
    return left + [(width - x, y) for x, y in reversed(left)]


def _sawtooth(rng: np.random.Generator, width: int, eaves: float) -> Points:
    teeth = int(rng.integers(2, 5))
    points: Points = []
    for k in range(teeth):
        points += [(width * k / teeth, eaves), (width * (k + rng.uniform(0.4, 0.6)) / teeth, 0.25 * eaves)]
    return [*points, (width, eaves)]


def _cornice(rng: np.random.Generator, width: int, eaves: float) -> Points:
    bump = width * rng.uniform(0.1, 0.3)
    low, high = 0.7 * eaves, 0.35 * eaves
    middle: Points = [(width / 2 - bump, low), (width / 2 - bump, high), (width / 2 + bump, high)]
    return [(0, low), *middle, (width / 2 + bump, low), (width, low)]


ROOFS: dict[str, Callable[[np.random.Generator, int, float], Points]] = {
    "gable": _gable,
    "stepped": _stepped,
    "battlement": _battlement,
    "dome": _dome,
    "mansard": _mansard,
    "towers": _towers,
    "dutch": _dutch,
    "sawtooth": _sawtooth,
    "cornice": _cornice,
}


def draw_outline(style: Style, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """The silhouette of a landmark.

    Returns:
      ``(P, 2)`` float64 polygon in pixels of the canonical texture, and the y of the eaves, where the wall begins.
    """
    eaves = style.height * rng.uniform(0.16, 0.27)
    top = ROOFS[style.roof_kind](rng, style.width - 1, eaves)
    points = [*top, (style.width - 1.0, style.height - 1.0), (0.0, style.height - 1.0)]
    return np.array(points, np.float64), round(eaves)


def tile(canvas: np.ndarray, rng: np.random.Generator, eaves: int, style: Style) -> None:
    """Covers the canvas above the eaves with scales of the roof colour."""
    width, rise = canvas.shape[1], max(5, style.course - 1)
    rows, columns = np.arange(eaves) // rise, np.arange(width)
    index = (columns[None, :] + (rows[:, None] % 2) * rise) // (2 * rise)
    shades = 1 + 0.14 * rng.standard_normal((rows[-1] + 1, index.max() + 1)).astype(np.float32)
    fall = 1.1 - 0.4 * (np.arange(eaves, dtype=np.float32) % rise / rise)[:, None]
    canvas[:eaves] = coloured(style.roof, shades[rows[:, None], index] * fall * grain(rng, width, eaves, 0.04))


def coping(canvas: np.ndarray, outline: np.ndarray, style: Style) -> None:
    """A light moulding with a shadow along the roof line."""
    line = np.round(outline[:-2]).astype(np.int32)
    cv2.polylines(canvas, [np.add(line, (0, 6))], False, shade(style.trim, 0.6), 3, cv2.LINE_AA)
    cv2.polylines(canvas, [np.add(line, (0, 2))], False, style.trim, 6, cv2.LINE_AA)
