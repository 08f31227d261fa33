"""Windows, doors, shutters and awnings, drawn onto an (H, W, 3) uint8 RGB canvas in place."""

from functools import lru_cache

import cv2
import numpy as np

from evaluation.synthetic.ornaments import Box
from evaluation.synthetic.style import Colour, Style, shade


def opening(kind: str, box: Box) -> np.ndarray:
    """The (P, 2) int32 outline of a window or door of the given kind that fills the box."""
    return _opening(kind, box[2], box[3]) + np.array(box[:2], np.int32)


@lru_cache(maxsize=4096)
def _opening(kind: str, width: int, height: int) -> np.ndarray:
    """The outline of :func:`opening` for a box at the origin."""
    if kind == "round":
        middle = (width // 2, height // 2)
        return np.asarray(cv2.ellipse2Poly(middle, middle, 0, 0, 360, 12), np.int32)
    rise = {"rect": 0.0, "segment": 0.22, "arch": 0.5, "twin": 0.5, "pointed": 0.85}[kind] * width
    rise = min(rise, 0.75 * height)
    along = np.linspace(-1, 1, 15)
    if rise == 0:
        top = np.array([[0, 0], [width, 0]], float)
    else:
        curve = (1 - np.abs(along)) ** 0.62 if kind == "pointed" else np.sqrt(1 - along**2)
        top = np.stack([width * (along + 1) / 2, rise * (1 - curve)], 1)
    outline = np.concatenate([top, [[width, height], [0, height]]])
    return np.round(outline).astype(np.int32)


def _mullions(patch: np.ndarray, kind: str, colour: Colour) -> None:
    """Glazing bars over the whole patch."""
    height, width = patch.shape[:2]
    if kind in ("cross", "fan"):
        cv2.line(patch, (width // 2, 0), (width // 2, height), colour, 2)
        cv2.line(patch, (0, height // 3), (width, height // 3), colour, 2)
        if kind == "fan":
            for end in (0, width // 4, 3 * width // 4, width):
                cv2.line(patch, (width // 2, height // 3), (end, 0), colour, 1, cv2.LINE_AA)
    elif kind == "grid":
        for k in range(1, 3):
            cv2.line(patch, (width * k // 3, 0), (width * k // 3, height), colour, 1)
        for k in range(1, 4):
            cv2.line(patch, (0, height * k // 4), (width, height * k // 4), colour, 1)
    elif kind == "diamond":
        for start in range(-height, width, 8):
            cv2.line(patch, (start, 0), (start + height, height), colour, 1, cv2.LINE_AA)
            cv2.line(patch, (start + height, 0), (start, height), colour, 1, cv2.LINE_AA)
    else:
        for k in range(1, 4):
            cv2.line(patch, (width * k // 4, 0), (width * k // 4, height), colour, 1)


def _glass(rng: np.random.Generator, shape: tuple[int, int], style: Style) -> np.ndarray:
    """Glass: a sky reflection, at times a lamp, a curtain or a half-drawn blind behind it."""
    height, width = shape
    base = (236, 200, 120) if rng.random() < 0.08 else shade(style.glass, float(rng.uniform(0.7, 1.5)))
    ends = [[shade(base, float(rng.uniform(1.0, 1.5)))], [shade(base, float(rng.uniform(0.6, 1.0)))]]
    patch = cv2.resize(np.array(ends, np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    cover = rng.random()
    if cover < 0.18:
        cv2.rectangle(patch, (0, 0), (width, int(height * rng.uniform(0.2, 0.7))), shade(style.trim, 0.9), -1)
    elif cover < 0.34:
        reach, tone = int(width * rng.uniform(0.15, 0.4)), shade(style.trim, 0.8)
        cv2.fillPoly(patch, [np.array([(0, 0), (reach, 0), (0, height)])], tone)
        cv2.fillPoly(patch, [np.array([(width, 0), (width - reach, 0), (width, height)])], tone)
    elif cover < 0.5:
        slant = int(rng.integers(-width, width))
        cv2.line(patch, (slant, height), (slant + width, 0), shade(base, 1.7), max(2, width // 5))
    return patch


def window(canvas: np.ndarray, rng: np.random.Generator, box: Box, kinds: tuple[str, str], style: Style) -> None:
    """A framed window that fills the box; ``kinds`` names its shape and its glazing bars."""
    (kind, mullion), (x, y, width, height) = kinds, box
    frame = max(2, width // 10)
    cv2.fillPoly(canvas, [opening(kind, box)], style.trim, cv2.LINE_AA)
    halves = 2 if kind == "twin" else 1
    inner_width = (width - frame * (halves + 1)) // halves
    if inner_width < 4 or height <= 2 * frame + 4:
        return
    for half in range(halves):
        left, top = x + frame + half * (inner_width + frame), y + frame
        high = height - 2 * frame
        patch = _glass(rng, (high, inner_width), style)
        _mullions(patch, mullion, shade(style.trim, 0.92))
        mask = np.zeros((high, inner_width), np.uint8)
        cv2.fillPoly(mask, [opening("arch" if kind == "twin" else kind, (0, 0, inner_width - 1, high - 1))], 255)
        place = canvas[top : top + high, left : left + inner_width]
        if place.shape == patch.shape:
            cv2.copyTo(patch, mask, place)
    cv2.line(canvas, (x - 3, y + height), (x + width + 3, y + height), shade(style.trim, 0.75), 3)


def shutters(canvas: np.ndarray, box: Box, colour: Colour) -> None:
    """Two open shutters with slats beside the box."""
    x, y, width, height = box
    leaf = max(4, width // 3)
    for left in (x - leaf - 1, x + width + 1):
        cv2.rectangle(canvas, (left, y), (left + leaf, y + height), colour, -1)
        for slat in range(y + 2, y + height, 4):
            cv2.line(canvas, (left + 1, slat), (left + leaf - 1, slat), shade(colour, 0.7), 1)


def balcony(canvas: np.ndarray, rng: np.random.Generator, box: Box, style: Style) -> None:
    """A railing with a slab over the lower part of the box."""
    x, y, width, height = box
    top, bottom, reach = y + int(0.66 * height), y + height + 4, int(rng.integers(3, 8))
    for left in range(x - reach, x + width + reach + 1, int(rng.integers(4, 7))):
        cv2.line(canvas, (left, top), (left, bottom), shade(style.accent, 0.6), 1)
    cv2.line(canvas, (x - reach, top), (x + width + reach, top), shade(style.accent, 0.6), 2)
    cv2.rectangle(canvas, (x - reach, bottom - 2), (x + width + reach, bottom + 3), shade(style.trim, 0.85), -1)


def flowers(canvas: np.ndarray, rng: np.random.Generator, box: Box) -> None:
    """A flower box under the box: coloured dots over green."""
    x, y, width, height = box
    for _ in range(int(width * 1.2)):
        at = (x + int(rng.integers(width + 1)), y + height - int(rng.integers(0, 9)))
        colour = ((70, 110, 60), (200, 60, 70), (230, 200, 90), (220, 220, 225))[int(rng.integers(4))]
        cv2.circle(canvas, at, int(rng.integers(1, 3)), colour, -1)


def hood(canvas: np.ndarray, rng: np.random.Generator, box: Box, style: Style) -> None:
    """A small pediment, a keystone or a label mould over the box."""
    x, y, width, _ = box
    kind, rise = int(rng.integers(3)), max(6, width // 4)
    if kind == 0:
        cv2.fillPoly(
            canvas, [np.array([(x - 5, y - 2), (x + width + 5, y - 2), (x + width // 2, y - rise)])], style.trim
        )
    elif kind == 1:
        stone = [(x + width // 2 - 6, y - 7), (x + width // 2 + 6, y - 7), (x + width // 2 + 3, y + 6)]
        cv2.fillPoly(canvas, [np.array([*stone, (x + width // 2 - 3, y + 6)])], shade(style.accent, 1.2), cv2.LINE_AA)
    else:
        mould = [(x - 4, y + 8), (x - 4, y - 4), (x + width + 4, y - 4), (x + width + 4, y + 8)]
        cv2.polylines(canvas, [np.array(mould)], False, shade(style.trim, 0.9), 3)


def awning(canvas: np.ndarray, rng: np.random.Generator, box: Box, colours: list[Colour]) -> None:
    """A striped awning over the upper third of the box."""
    x, y, width, height = box
    stripes, drop = int(rng.integers(5, 10)), int(0.32 * height)
    for k in range(stripes):
        upper = (x + width * k // stripes, x + width * (k + 1) // stripes)
        lower = (upper[0] + (2 * k - stripes), upper[1] + (2 * (k + 1) - stripes))
        shape = np.array([(upper[0], y), (upper[1], y), (lower[1], y + drop), (lower[0], y + drop)])
        cv2.fillPoly(canvas, [shape], colours[k % 2])


def door(canvas: np.ndarray, rng: np.random.Generator, box: Box, kind: str, style: Style) -> None:
    """A panelled door with a frame in the box."""
    x, y, width, height = box
    frame, colour = max(3, width // 9), shade(style.accent, float(rng.uniform(0.5, 1.1)))
    cv2.fillPoly(canvas, [opening(kind, (x - frame, y - frame, width + 2 * frame, height + frame))], style.trim)
    cv2.fillPoly(canvas, [opening(kind, box)], colour)
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    top = y + height // 3
    for row in range(rows):
        for column in range(columns):
            corner = (x + 3 + column * (width - 4) // columns, top + row * (height - height // 3) // rows)
            end = (corner[0] + (width - 4) // columns - 4, corner[1] + (height - height // 3) // rows - 4)
            cv2.rectangle(canvas, corner, end, shade(colour, 0.6 if (row + column) % 2 else 1.35), 1)
    cv2.circle(canvas, (x + int(0.8 * width), y + int(0.65 * height)), 2, (225, 200, 120), -1)
