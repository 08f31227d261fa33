"""The background of a landmark: sky, ground, neighbouring buildings, trees, wires. None of them has a ground truth."""

import cv2
import numpy as np

from evaluation.synthetic import windows
from evaluation.synthetic.style import MULLION_KINDS, WINDOW_KINDS, Style, draw_style, pick, shade
from evaluation.synthetic.walls import WALLS, coloured, grain, smooth_noise

SKIES = (
    ((96, 146, 206), (190, 212, 232)),
    ((150, 162, 176), (214, 216, 216)),
    ((120, 110, 140), (236, 184, 142)),
    ((62, 78, 112), (140, 150, 172)),
    ((205, 212, 220), (238, 238, 236)),
)
GROUNDS = ((118, 114, 110), (150, 138, 120), (96, 112, 78), (86, 86, 92), (168, 162, 152))
ZOOM = 1.15  # enlargement of the scene, so that rotation leaves few mirrored corners


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Gradient and clouds, (H, W, 3) uint8; drawn at a quarter of the size, because no part is sharp."""
    small = (max(4, width // 4), max(4, height // 4))
    top, bottom = (np.asarray(c, np.float32) for c in SKIES[int(rng.integers(len(SKIES)))])
    fall = np.linspace(0, 1, small[1], dtype=np.float32)[:, None, None]
    clouds = np.clip(smooth_noise(rng, *small, max(4, small[0] // 7)) - 0.2, 0, 1)[..., None]
    clouds *= np.float32(0.55 * rng.random())
    sky = (top * (1 - fall) + bottom * fall) * (1 - clouds) + 240 * clouds
    return cv2.resize(cv2.convertScaleAbs(sky), (width, height), interpolation=cv2.INTER_LINEAR)


def _fragment(rng: np.random.Generator, style: Style, width: int, height: int) -> np.ndarray:
    """A part of another building: a wall and a grid of windows of two alternating kinds."""
    image = WALLS[style.wall_kind](rng, width, height, style)
    columns, rows = max(1, width // int(rng.integers(17, 30))), max(1, height // int(rng.integers(22, 36)))
    wide, high = width // columns, height // rows
    kinds = (pick(rng, WINDOW_KINDS), pick(rng, MULLION_KINDS))
    cells = []
    for _ in range(2):
        cell = image[:high, :wide].copy()
        windows.window(cell, rng, (wide // 4, high // 5, wide // 2, int(0.6 * high)), kinds, style)
        cells.append(cell)
    for index in np.flatnonzero(rng.random(rows * columns) < 0.9):
        top, left = index // columns * high, index % columns * wide
        image[top : top + high, left : left + wide] = cells[int(index * 7 // 3 % 2)]
    cv2.rectangle(image, (0, 0), (width, 3), style.trim, -1)
    return image


def _pavement(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ground in perspective: courses that grow towards the viewer, mostly with joints that converge to a point."""
    colour = GROUNDS[int(rng.integers(len(GROUNDS)))]
    depth = 1 / (np.arange(height, dtype=np.float32) / height + 0.08)
    across = (np.arange(width, dtype=np.float32) / width - rng.uniform(0, 1)) * 9
    row = np.floor(depth * rng.uniform(1.5, 3.5)).astype(np.int64)
    column = np.floor(across[None, :] * depth[:, None] / 3).astype(np.int64)
    shades = (1 + rng.uniform(0.02, 0.12) * rng.standard_normal(997)).astype(np.float32)
    tone = shades[(row[:, None] * 131 + column * int(rng.integers(0, 3)) * 57) % 997]
    return coloured(colour, tone * grain(rng, width, height, 0.05))


def _neighbours(canvas: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    """Pastes up to two tilted building fragments that stand on the ground."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 3))):
        style = draw_style(rng)
        wide, high = int(rng.integers(width // 6, width // 2)), int(rng.integers(height // 4, int(0.8 * height)))
        fragment = _fragment(rng, style, wide, high)
        left, base = int(rng.integers(-wide // 2, width - wide // 2)), horizon + int(rng.integers(0, height // 12))
        tilt = rng.uniform(-0.16, 0.16, 4) * high * (1, 1, 0.2, 0.2)
        corners = np.array([(0, 0), (wide, 0), (wide, high), (0, high)], np.float32)
        target = corners + np.stack([np.full(4, left), base - high + tilt], 1)
        to_canvas = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
        cv2.warpPerspective(
            fragment, to_canvas, (width, height), dst=canvas, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )


def _trees(canvas: np.ndarray, rng: np.random.Generator, horizon: int) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        green = (int(rng.integers(45, 110)), int(rng.integers(80, 140)), int(rng.integers(35, 75)))
        reach, x = height * rng.uniform(0.06, 0.18), rng.uniform(0, width)
        y = horizon - reach * rng.uniform(0.6, 1.6)
        cv2.line(canvas, (int(x), int(y)), (int(x), horizon + 4), (82, 66, 52), max(2, int(reach / 6)))
        leaves = rng.normal((x, y), 0.45 * reach, (24, 2)).astype(int).tolist()
        sizes, tones = (reach * rng.uniform(0.14, 0.38, 24)).astype(int).tolist(), rng.uniform(0.6, 1.35, 24).tolist()
        for at, size, tone in zip(leaves, sizes, tones):
            cv2.circle(canvas, at, size, shade(green, tone), -1)


def _wires(canvas: np.ndarray, rng: np.random.Generator) -> None:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        ends = rng.integers(0, int(0.6 * height), 2)
        along = np.linspace(0, 1, 12)
        sag = height * rng.uniform(0, 0.15) * 4 * along * (1 - along)
        line = np.stack([along * width, ends[0] + (ends[1] - ends[0]) * along + sag], 1)
        cv2.polylines(canvas, [line.astype(np.int32)], False, (50, 50, 54), 1, cv2.LINE_AA)


def draw_scene(rng: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """Draws a street scene without a landmark, level, the ground beginning at y = horizon: (H, W, 3) uint8 RGB."""
    width, height = size
    canvas = _sky(rng, width, height)
    canvas[horizon:] = _pavement(rng, width, height - horizon)
    _neighbours(canvas, rng, horizon)
    _trees(canvas, rng, horizon)
    _wires(canvas, rng)
    return canvas


def draw_background(rng: np.random.Generator, size: tuple[int, int], base: np.ndarray, factor: int) -> np.ndarray:
    """Draws the scene behind a landmark, turned so that the landmark stands on the ground.

    Args:
      rng: the appearance stream of the view.
      size: (width, height) of the view.
      base: ``(2, 2)`` the lower left and right corners of the landmark in pixels of the view.
      factor: size of the canvas relative to the view.

    Returns:
      ``(factor * H, factor * W, 3)`` uint8 RGB.
    """
    width, height = size
    foot = np.clip(base.mean(0), (0, 0.3 * height), (width, 1.0 * height))
    along = base[1] - base[0]
    angle = float(np.clip(np.degrees(np.arctan2(along[1], along[0])), -35, 35))
    horizon = int(np.clip(foot[1] - height * rng.uniform(0.01, 0.09), 0.4 * height, 0.94 * height))
    scene = draw_scene(rng, size, horizon)
    turn = cv2.getRotationMatrix2D((float(foot[0]), float(horizon)), -angle, ZOOM)
    turn[:, 2] += foot - (foot[0], horizon)
    turned = cv2.warpAffine(scene, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return cv2.resize(turned, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
