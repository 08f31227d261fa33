"""Occluders of a landmark, polygons with colours: poles, signs, trees, people, vehicles, walls."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from evaluation.synthetic.style import Colour, draw_palette, pick, shade


@dataclass(frozen=True)
class Patch:
    """A filled polygon: ``(P, 2)`` float64 points in pixels (x, y) of the view, and an RGB colour."""

    points: np.ndarray
    colour: Colour


Occluder = list[Patch]


def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def _disc(x: float, y: float, rx: float, ry: float, corners: int = 14) -> np.ndarray:
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], 1)


def _any_colour(rng: np.random.Generator) -> Colour:
    """A random colour, mostly muted."""
    level, chroma = rng.uniform(40, 205), 90 * rng.random() ** 1.6
    red, green, blue = np.clip(level + chroma * rng.uniform(-1, 1, 3), 10, 240)
    return int(red), int(green), int(blue)


def _grey(rng: np.random.Generator) -> Colour:
    level = int(rng.integers(35, 150))
    return level, level, min(255, level + int(rng.integers(0, 15)))


def _pole(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    colour, half, lean = _grey(rng), unit * rng.uniform(0.008, 0.025), unit * rng.uniform(-0.03, 0.03)
    shape = np.array(
        [(at[0] - half, -9), (at[0] + half, -9), (at[0] + half + lean, 3 * unit), (at[0] - half + lean, 3 * unit)]
    )
    return [Patch(shape, colour), Patch(shape - (0.5 * half, 0), shade(colour, 1.2))][: 1 + int(rng.integers(2))]


def _sign(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    colour, (w, h) = _any_colour(rng), unit * rng.uniform((0.06, 0.05), (0.2, 0.15))
    board = _disc(at[0], at[1], w, w, 8) if rng.random() < 0.4 else _box(at[0] - w, at[1] - h, at[0] + w, at[1] + h)
    inner = at + 0.8 * (board - at)
    bar = _box(at[0] - 0.6 * w, at[1] - 0.2 * h, at[0] + 0.6 * w, at[1] + 0.2 * h)
    pole = Patch(_box(at[0] - 0.012 * unit, at[1], at[0] + 0.012 * unit, 3 * unit), _grey(rng))
    return [pole, Patch(board, (235, 235, 230)), Patch(inner, colour), Patch(bar, (235, 235, 230))]


def _tree(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    green = (int(rng.integers(40, 110)), int(rng.integers(80, 140)), int(rng.integers(30, 70)))
    reach = unit * rng.uniform(0.1, 0.22)
    trunk = Patch(_box(at[0] - 0.1 * reach, at[1], at[0] + 0.1 * reach, 3 * unit), (80, 62, 48))
    count = int(rng.integers(18, 30))
    centres, sizes = at + rng.normal(0, 0.42 * reach, (count, 2)), reach * rng.uniform(0.14, 0.42, count)
    discs = centres[:, None] + sizes[:, None, None] * _disc(0, 0, 1, 0.85, 9)
    tones = rng.uniform(0.6, 1.35, count).tolist()
    return [trunk, *(Patch(disc, shade(green, tone)) for disc, tone in zip(discs, tones))]


def _person(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    tall = unit * rng.uniform(0.18, 0.42)
    x, top = at[0], at[1] - 0.2 * tall
    coat, legs = _any_colour(rng), shade(_any_colour(rng), 0.6)
    return [
        Patch(_box(x - 0.1 * tall, top + 0.5 * tall, x + 0.1 * tall, top + tall), legs),
        Patch(_disc(x, top + 0.36 * tall, 0.15 * tall, 0.24 * tall), coat),
        Patch(_disc(x, top + 0.08 * tall, 0.07 * tall, 0.08 * tall), (205, 165, 140)),
    ]


def _vehicle(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    colour, (w, h) = _any_colour(rng), unit * rng.uniform((0.16, 0.07), (0.34, 0.16))
    x, y = at
    cabin = np.array([(x - 0.7 * w, y - h), (x - 0.5 * w, y - 2 * h), (x + 0.5 * w, y - 2 * h), (x + 0.75 * w, y - h)])
    parts = [Patch(_box(x - w, y - h, x + w, y + h), colour), Patch(cabin, shade(colour, 0.85))]
    parts.append(Patch(np.array([x, y - 1.4 * h]) + 0.75 * (cabin - [x, y - 1.5 * h]), (60, 70, 82)))
    return parts + [Patch(_disc(x + side * 0.6 * w, y + h, 0.45 * h, 0.45 * h), (30, 30, 32)) for side in (-1, 1)]


def _shape(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    corners = int(rng.integers(3, 7))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = unit * rng.uniform(0.08, 0.3, corners)
    colour = _any_colour(rng)
    outer = at + np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
    stripe = at + 0.5 * (outer - at)
    return [Patch(outer, colour), Patch(stripe, shade(colour, float(rng.uniform(0.6, 1.4))))]


def _wall(rng: np.random.Generator, at: np.ndarray, unit: float) -> Occluder:
    """The corner of a nearer building at one side: courses of differing shade, a few windows."""
    side, colour = int(rng.choice((-1, 1))), shade(draw_palette(rng)[0], rng.uniform(0.5, 1))
    edge, far = at[0] + side * unit * 0.15, at[0] + side * 6 * unit
    borders = np.cumsum(rng.uniform(0.05, 0.3, 30)) * unit - unit
    parts = [
        Patch(_box(edge, top, far, bottom), shade(colour, float(rng.uniform(0.8, 1.15))))
        for top, bottom in pairwise(borders)
    ]
    (wide, high), (step_x, step_y) = unit * rng.uniform(0.06, 0.15, 2), unit * rng.uniform(0.18, 0.4, 2)
    for index in np.flatnonzero(rng.random(18) < 0.7):
        x, y = edge + side * (0.08 * unit + index % 3 * step_x), (index // 3 - 0.5) * step_y
        parts.append(Patch(_box(x, y, x + side * wide, y + high), shade(colour, float(rng.uniform(0.3, 0.7)))))
    return parts


OCCLUDERS: dict[str, Callable[[np.random.Generator, np.ndarray, float], Occluder]] = {
    "pole": _pole,
    "sign": _sign,
    "tree": _tree,
    "person": _person,
    "vehicle": _vehicle,
    "shape": _shape,
    "wall": _wall,
}

ON_GROUND = ("person", "vehicle")
# Each entry has the same chance, so repeated names are drawn more often.
MIXTURE = (*OCCLUDERS, "pole", "sign", "tree", "tree", "person", "person", "vehicle")


def _fixed(points: np.ndarray) -> np.ndarray:
    """Points in sixteenths of a pixel, int32, as OpenCV draws them."""
    return (points * 16).astype(np.int32)


def cover(occluders: list[Occluder], size: tuple[int, int]) -> np.ndarray:
    """Mask of the pixels that the occluders hide: (H, W) uint8, 0 or 255; ``size`` is (width, height)."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    for patch in (patch for occluder in occluders for patch in occluder):
        cv2.fillPoly(mask, [_fixed(patch.points)], 255, cv2.LINE_8, 4)
    return mask


def draw_occluders(
    rng: np.random.Generator, landmark: np.ndarray, share: tuple[float, float]
) -> tuple[list[Occluder], float]:
    """Draws occluders until they hide a random part of the landmark within the given range, never more.

    Args:
      rng: the geometry stream of the view.
      landmark: (H, W) uint8 mask of the landmark in the view.
      share: smallest and largest hidden part of the mask.

    Returns:
      The occluders, back to front, and the hidden part, at most ``share[1]``.
    """
    height, width = landmark.shape
    size = (width, height)
    x, y, wide, high = cv2.boundingRect(landmark)
    unit = float(np.clip(0.9 * max(wide, high), 0.25 * min(size), min(size)))
    total, hidden = max(cv2.countNonZero(landmark), 1), 0.0
    target_share = rng.uniform(*share)
    occluders: list[Occluder] = []
    covered = np.zeros_like(landmark)
    for _ in range(40):
        if hidden >= target_share:
            break
        name = pick(rng, MIXTURE)
        top = y + 0.6 * high if name in ON_GROUND else y
        at = rng.uniform((x - 0.1 * wide, top), (x + 1.1 * wide, y + 1.05 * high))
        new = OCCLUDERS[name](rng, at, unit)
        mask = cv2.bitwise_or(covered, cover([new], size))
        part = cv2.countNonZero(cv2.bitwise_and(mask, landmark)) / total
        if part <= share[1]:
            occluders, covered, hidden = [*occluders, new], mask, part
    return occluders, hidden


def paint(canvas: np.ndarray, occluders: list[Occluder], factor: int) -> None:
    """Draws the occluders onto a canvas that is ``factor`` times larger than the view, in place."""
    for patch in (patch for occluder in occluders for patch in occluder):
        points = (patch.points + 0.5) * factor - 0.5
        cv2.fillPoly(canvas, [_fixed(points)], patch.colour, cv2.LINE_8, 4)
