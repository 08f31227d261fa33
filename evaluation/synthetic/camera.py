"""The difficulty of a view, and the random camera of a facade."""

from dataclasses import dataclass

import cv2
import numpy as np

from evaluation.synthetic.truth import project

Range = tuple[float, float]


@dataclass(frozen=True)
class Difficulty:
    """Ranges from which a view is drawn.

    Attributes:
      yaw, pitch, roll: largest tilt of the facade about the vertical, the horizontal and the viewing axis, degrees.
      extent: size of the whole landmark relative to the image (1: just fits; above 1 the image crops the landmark).
      shift: largest displacement from the centre, relative to the image.
      in_frame: admitted part of the landmark's area inside the image.
      occlusion: part of the landmark's area that occluders hide.
      gain, gamma: brightness factor and exponent.
      cast: largest relative change of one colour channel.
      shadow: chance of a shadow.
      blur: deviation of the blur relative to the longer image side.
      noise: deviation of the sensor noise in grey levels.
      quality: JPEG quality.
    """

    yaw: float
    pitch: float
    roll: float
    extent: Range
    shift: float
    in_frame: Range
    occlusion: Range
    gain: Range
    gamma: Range
    cast: float
    shadow: float
    blur: Range
    noise: Range
    quality: tuple[int, int]


EASY = Difficulty(
    yaw=20, pitch=6, roll=5, extent=(0.85, 1.1), shift=0.06, in_frame=(0.88, 1.0), occlusion=(0.0, 0.06),
    gain=(0.88, 1.12), gamma=(0.88, 1.14), cast=0.04, shadow=0.15, blur=(0, 0.002), noise=(1.0, 4.0), quality=(75, 95),
)  # fmt: skip
HARD = Difficulty(
    yaw=38, pitch=14, roll=14, extent=(0.65, 1.2), shift=0.16, in_frame=(0.6, 1.0), occlusion=(0.03, 0.24),
    gain=(0.7, 1.3), gamma=(0.75, 1.33), cast=0.08, shadow=0.4, blur=(0, 0.003), noise=(2.0, 7.0), quality=(55, 90),
)  # fmt: skip
TINY = Difficulty(
    yaw=52, pitch=24, roll=25, extent=(0.1, 0.17), shift=0.4, in_frame=(0.5, 1.0), occlusion=(0.0, 0.3),
    gain=(0.5, 1.45), gamma=(0.6, 1.7), cast=0.24, shadow=0.5, blur=(0.004, 0.01), noise=(3.0, 12.0), quality=(40, 80),
)  # fmt: skip
SLIVER = Difficulty(
    yaw=40, pitch=20, roll=25, extent=(0.7, 1.1), shift=1.0, in_frame=(0.04, 0.13), occlusion=(0.0, 0.3),
    gain=(0.5, 1.45), gamma=(0.6, 1.7), cast=0.24, shadow=0.5, blur=(0.0, 0.006), noise=(3.0, 12.0), quality=(40, 80),
)  # fmt: skip


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The ``(3, 3)`` rotation ``Rz(roll) Rx(pitch) Ry(yaw)``, angles in degrees."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in np.radians((yaw, pitch, roll)))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def plane_to_image(outline: np.ndarray, turn: np.ndarray, distance: float) -> np.ndarray:
    """Pinhole projection ``[r1 r2 t]`` of the facade plane, centred on the outline and scaled to half diagonal 1.

    Args:
      outline: ``(P, 2)`` silhouette in pixels of the plane.
      turn: ``(3, 3)`` rotation of the plane.
      distance: of the camera, in half diagonals; must exceed 1 so that the whole plane lies before the camera.
    """
    low, high = outline.min(0), outline.max(0)
    centre, radius = (low + high) / 2, np.linalg.norm(high - low) / 2
    normalise = np.array([[1 / radius, 0, -centre[0] / radius], [0, 1 / radius, -centre[1] / radius], [0, 0, 1]])
    return np.column_stack([turn[:, 0], turn[:, 1], [0, 0, distance]]) @ normalise


def silhouette(outline: np.ndarray, homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask of the projected outline: (H, W) uint8, 0 or 255; ``size`` is (width, height)."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    corners = np.round(project(outline, homography) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, 4)
    return mask


def draw_camera(
    rng: np.random.Generator, difficulty: Difficulty, outline: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Draws the homography of a view.

    Cameras are drawn until the landmark's part in the frame is admitted; after 200 trials the best is taken.

    Args:
      rng: the geometry stream of the view.
      difficulty: the ranges.
      outline: ``(P, 2)`` silhouette in pixels of the facade plane.
      size: (width, height) of the image.

    Returns:
      ``(3, 3)`` float64, facade plane to image, bottom-right entry 1.
    """
    best, best_miss = np.eye(3), np.inf
    low, high = difficulty.in_frame
    for _ in range(200):
        angles = rng.uniform(-1, 1, 3) * (difficulty.yaw, difficulty.pitch, difficulty.roll)
        flat = plane_to_image(outline, rotation(*angles), float(rng.uniform(1.7, 3.5)))
        corners = project(outline, flat)
        reach = np.ptp(corners, axis=0)
        scale = float(np.exp(rng.uniform(*np.log(difficulty.extent)))) * float(np.min(np.asarray(size) / reach))
        centre = np.asarray(size) * (0.5 + rng.uniform(-1, 1, 2) * difficulty.shift)
        moved = centre - scale * (corners.min(0) + corners.max(0)) / 2
        homography = np.array([[scale, 0, moved[0]], [0, scale, moved[1]], [0, 0, 1]]) @ flat
        homography /= homography[2, 2]
        area = cv2.contourArea(project(outline, homography).astype(np.float32))
        part = min(1.0, cv2.countNonZero(silhouette(outline, homography, size)) / max(area, 1.0))
        miss = max(low - part, part - high, 0.0)
        if miss < best_miss:
            best, best_miss = homography, miss
        if miss == 0:
            break
    return best
