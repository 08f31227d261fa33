"""A view of a landmark: the geometry is planned first and is cheap; pixels are rendered on demand."""

from dataclasses import dataclass

import cv2
import numpy as np

from evaluation.synthetic.background import draw_background
from evaluation.synthetic.camera import EASY, HARD, SLIVER, TINY, Difficulty, draw_camera, silhouette
from evaluation.synthetic.facade import Facade
from evaluation.synthetic.occluders import Occluder, draw_occluders, paint
from evaluation.synthetic.photometry import encode, expose
from evaluation.synthetic.truth import project

SUPERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """The geometry of a view.

    Attributes:
      size: (width, height) of the image in pixels.
      homography: ``(3, 3)`` float64, pixels of the facade plane to pixels of the image.
      occluders: the occluders, back to front.
      bbx: x1, y1, x2, y2 of the landmark within the image, pixel edges (x2 and y2 exclusive).
      visible: part of the landmark's whole projected area that is in the image and not hidden, 0..1.
      coverage: part of the image that the landmark takes up, hidden or not, 0..1.
      difficulty: the ranges that the view was drawn from.
    """

    size: tuple[int, int]
    homography: np.ndarray
    occluders: list[Occluder]
    bbx: tuple[float, float, float, float]
    visible: float
    coverage: float
    difficulty: Difficulty


def choose(kind: str, rng: np.random.Generator) -> Difficulty:
    """The ranges of a kind of view: easy, hard, junk (tiny or a sliver at the border), mixed (easy or hard)."""
    if kind == "junk":
        return TINY if rng.random() < 0.5 else SLIVER
    if kind == "mixed":
        return EASY if rng.random() < 0.5 else HARD
    return {"easy": EASY, "hard": HARD}[kind]


def plan_view(rng: np.random.Generator, kind: str, outline: np.ndarray, image_size: int) -> View:
    """Draws the geometry of a view.

    Args:
      rng: the geometry stream of the view.
      kind: easy, hard, junk or mixed.
      outline: ``(P, 2)`` silhouette in pixels of the facade plane.
      image_size: the longer side of the image in pixels; the shorter is three quarters of it.
    """
    difficulty = choose(kind, rng)
    short = round(0.75 * image_size)
    size = (image_size, short) if rng.random() < 0.6 else (short, image_size)
    homography = draw_camera(rng, difficulty, outline, size)
    mask = silhouette(outline, homography, size)
    occluders, hidden = draw_occluders(rng, mask, difficulty.occlusion)
    x, y, width, height = cv2.boundingRect(mask)
    seen = cv2.countNonZero(mask)
    whole = whole_area(outline, homography)
    return View(
        size=size,
        homography=homography,
        occluders=occluders,
        bbx=(float(x), float(y), float(x + width), float(y + height)),
        visible=min(1.0, seen / whole) * (1 - hidden),
        coverage=seen / mask.size,
        difficulty=difficulty,
    )


def whole_area(outline: np.ndarray, homography: np.ndarray) -> float:
    """Area in pixels of the projected outline, in the image or not; at least 1."""
    return max(1.0, float(cv2.contourArea(project(outline, homography).astype(np.float32))))


def enlarge(homography: np.ndarray, factor: int) -> np.ndarray:
    """The homography onto an image ``factor`` times larger, with pixel centres at whole numbers in both."""
    offset = (factor - 1) / 2
    return np.array([[factor, 0, offset], [0, factor, offset], [0, 0, 1]]) @ homography


def place(canvas: np.ndarray, facade: Facade, homography: np.ndarray) -> None:
    """Warps the facade onto the canvas, in place; the texture is smoothed first where it shrinks."""
    mask = silhouette(facade.outline, homography, (canvas.shape[1], canvas.shape[0]))
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0:
        return
    shrink = np.sqrt(cv2.contourArea(facade.outline.astype(np.float32)) / whole_area(facade.outline, homography))
    texture = facade.texture if shrink < 1.2 else cv2.GaussianBlur(facade.texture, (0, 0), 0.4 * float(shrink))
    to_box = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]]) @ homography
    warped = cv2.warpPerspective(texture, to_box, (width, height), borderMode=cv2.BORDER_REPLICATE)
    cv2.copyTo(warped, mask[y : y + height, x : x + width], canvas[y : y + height, x : x + width])


def render_view(rng: np.random.Generator, view: View, facade: Facade) -> bytes:
    """Renders a view and gives the bytes of its JPEG file.

    Args:
      rng: the appearance stream of the view.
      view: geometry of the view.
      facade: the landmark.
    """
    left, right = facade.outline[:, 0].min(), facade.outline[:, 0].max()
    bottom = facade.outline[:, 1].max()
    base = project(np.array([(left, bottom), (right, bottom)]), view.homography)
    canvas = draw_background(rng, view.size, base, SUPERSAMPLING)
    place(canvas, facade, enlarge(view.homography, SUPERSAMPLING))
    paint(canvas, view.occluders, SUPERSAMPLING)
    image = cv2.resize(canvas, view.size, interpolation=cv2.INTER_AREA)
    low, high = view.difficulty.quality
    return encode(expose(image, rng, view.difficulty), int(rng.integers(low, high + 1)))
