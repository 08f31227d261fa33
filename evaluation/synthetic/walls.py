"""Masonry and plaster: functions (rng, width, height, style) -> (height, width, 3) uint8 RGB texture."""

from collections.abc import Callable

import cv2
import numpy as np

from evaluation.synthetic.style import Colour, Style, shade

Texture = np.ndarray


def coloured(colour: Colour, brightness: np.ndarray) -> Texture:
    """The colour times a (H, W) brightness map, as (H, W, 3) uint8."""
    level = cv2.convertScaleAbs(np.maximum(brightness, 0), alpha=128)
    table = np.clip(np.arange(256)[:, None] / 128 * np.asarray(colour), 0, 255).astype(np.uint8)
    return cv2.LUT(cv2.merge([level, level, level]), table.reshape(1, 256, 3))


def smooth_noise(rng: np.random.Generator, width: int, height: int, cell: int) -> np.ndarray:
    """Low-frequency noise of mean 0 and deviation near 1: (H, W) float32, one random value per ``cell`` pixels."""
    coarse = rng.standard_normal((height // cell + 2, width // cell + 2), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def grain(rng: np.random.Generator, width: int, height: int, amount: float) -> np.ndarray:
    """Fine brightness noise about 1, uniform with deviation ``amount``: (H, W) float32."""
    reach = np.float32(amount * np.sqrt(3))
    return rng.random((height, width), dtype=np.float32) * (2 * reach) + (1 - reach)


def _courses(rng: np.random.Generator, width: int, height: int, block: tuple[int, int], spread: float) -> np.ndarray:
    """Brightness of staggered blocks (length, rise) with a dark joint: (H, W) float32; each has its own shade."""
    length, rise = block
    rows, columns = np.arange(height) // rise, np.arange(width)
    starts = rng.integers(0, length, rows[-1] + 1)
    index = (columns[None, :] + starts[rows][:, None]) // length
    shades = (1 + spread * rng.standard_normal((rows[-1] + 1, index.max() + 1))).astype(np.float32)
    brightness = shades[rows[:, None], index]
    joint = (np.arange(height) % rise == 0)[:, None] | ((columns[None, :] + starts[rows][:, None]) % length == 0)
    brightness[joint] = 0.72
    return brightness * grain(rng, width, height, 0.03)


def brick(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Small bricks of differing shade."""
    return coloured(style.wall, _courses(rng, width, height, (int(2.4 * style.course), style.course), 0.11))


def ashlar(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Large dressed stones."""
    rise = 2 * style.course + 4
    return coloured(style.wall, _courses(rng, width, height, (int(1.7 * rise), rise), 0.10))


def plaster(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Plaster with stains, patches fallen off and cracks."""
    tone = 1 + 0.05 * smooth_noise(rng, width, height, 40) + 0.04 * smooth_noise(rng, width, height, 9)
    image = coloured(style.wall, tone * grain(rng, width, height, 0.02))
    under = brick(rng, width, height, style)
    fallen = smooth_noise(rng, width, height, 26) > 1.45
    image[fallen] = (under[fallen] * 0.85).astype(np.uint8)
    for _ in range(int(rng.integers(3, 8))):
        steps = rng.normal(0, 7, (int(rng.integers(4, 10)), 2)).cumsum(0) + rng.uniform((0, 0), (width, height))
        cv2.polylines(image, [steps.astype(np.int32)], False, shade(style.wall, 0.68), 1, cv2.LINE_AA)
    return image


def diaper(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Brick with a lozenge pattern in the accent colour."""
    image = brick(rng, width, height, style)
    rise = style.course
    row, column = np.arange(height)[:, None] // rise, np.arange(width)[None, :] // rise
    period = int(rng.integers(6, 11))
    lozenge = np.minimum((row + column) % period, (row - column) % period) == 0
    dark = coloured(style.accent, _courses(rng, width, height, (int(2.4 * rise), rise), 0.08))
    image[lozenge] = (0.35 * image[lozenge] + 0.65 * dark[lozenge]).astype(np.uint8)
    return image


def timber(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Half-timbered plaster: posts, rails and braces in the accent colour."""
    image = coloured(style.trim, 1 + 0.04 * smooth_noise(rng, width, height, 12))
    beam, step = int(rng.integers(5, 9)), int(rng.integers(40, 64))
    verticals, rails = range(0, width + step, step), range(height, -step, -step)
    for x in verticals:
        cv2.line(image, (x, 0), (x, height), style.accent, beam)
    for y in rails:
        cv2.line(image, (0, y), (width, y), style.accent, beam)
        for x in verticals:
            brace = int(rng.integers(4))
            if brace < 2:
                ends = ((x, y), (x + step, y - step)) if brace else ((x, y - step), (x + step, y))
                cv2.line(image, *ends, shade(style.accent, 1.15), beam - 1, cv2.LINE_AA)
    return np.clip(image * grain(rng, width, height, 0.05)[..., None], 0, 255).astype(np.uint8)


def banded(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Courses of wall and trim colour by turns."""
    rise = style.course + 4
    light = coloured(style.trim, _courses(rng, width, height, (3 * rise, rise), 0.06))
    image = coloured(style.wall, _courses(rng, width, height, (3 * rise, rise), 0.08))
    pattern = rng.integers(0, 2, 7)
    rows = pattern[(np.arange(height) // rise) % 7] == 1
    image[rows] = light[rows]
    return image


def rubble(rng: np.random.Generator, width: int, height: int, style: Style) -> Texture:
    """Irregular field stones: the cells of random points, with dark joints."""
    points = np.full((height, width), 255, np.uint8)
    count = width * height // (style.course * 22)
    points[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    _, labels = cv2.distanceTransformWithLabels(points, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    shades = (1 + 0.13 * rng.standard_normal(labels.max() + 1)).astype(np.float32)
    brightness = shades[labels]
    joint = (labels != np.roll(labels, 1, 0)) | (labels != np.roll(labels, 1, 1))
    brightness[joint] = 0.66
    return coloured(style.wall, brightness * grain(rng, width, height, 0.03))


WALLS: dict[str, Callable[[np.random.Generator, int, int, Style], Texture]] = {
    "brick": brick,
    "ashlar": ashlar,
    "plaster": plaster,
    "diaper": diaper,
    "timber": timber,
    "banded": banded,
    "rubble": rubble,
}
