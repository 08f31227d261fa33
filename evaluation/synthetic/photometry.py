"""Light and sensor: shadow, blur, gain, gamma, colour cast, noise, and the JPEG file."""

import cv2
import numpy as np

from evaluation.synthetic.camera import Difficulty


def shadow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darkens a random half plane or band with a soft edge."""
    height, width = image.shape[:2]
    angle, depth = rng.uniform(0, np.pi), rng.uniform(0.35, 0.75)
    x, y = np.arange(width, dtype=np.float32) / width - 0.5, np.arange(height, dtype=np.float32) / height - 0.5
    across = np.float32(np.cos(angle)) * x[None, :] + np.float32(np.sin(angle)) * y[:, None]
    start, span, soft = rng.uniform(-0.4, 0.2), rng.uniform(0.15, 0.8), rng.uniform(0.01, 0.08)
    inside = np.clip((across - start) / soft, 0, 1) * np.clip((start + span - across) / soft, 0, 1)
    brightness = (1 - np.float32(1 - depth) * inside).astype(np.float32)
    return cv2.multiply(image, cv2.merge([brightness, brightness, brightness]), dtype=cv2.CV_8U)


def blur(image: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """Gaussian blur, or motion blur of a like amount in a third of the cases; ``deviation`` in pixels."""
    moving, angle = rng.random() < 0.33, rng.uniform(0, np.pi)
    if deviation < 0.25:
        return image
    if not moving:
        return cv2.GaussianBlur(image, (0, 0), deviation)
    reach = max(1, round(2 * deviation))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    tip = (round(reach + reach * np.cos(angle)), round(reach + reach * np.sin(angle)))
    cv2.line(kernel, (2 * reach - tip[0], 2 * reach - tip[1]), tip, 1.0, 1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def light(image: np.ndarray, rng: np.random.Generator, difficulty: Difficulty) -> np.ndarray:
    """Gain, gamma and colour cast, by one table per channel."""
    gain, gamma = (float(np.exp(rng.uniform(*np.log(span)))) for span in (difficulty.gain, difficulty.gamma))
    cast = 1 + rng.uniform(-difficulty.cast, difficulty.cast, 3)
    level = np.arange(256)[:, None] / 255
    table = 255 * np.clip(gain * cast * level**gamma, 0, 1)
    return cv2.LUT(image, np.round(table).astype(np.uint8).reshape(1, 256, 3))


def expose(image: np.ndarray, rng: np.random.Generator, difficulty: Difficulty) -> np.ndarray:
    """Turns a clean rendering into a photograph.

    Args:
      image: ``(H, W, 3)`` uint8 RGB.
      rng: the appearance stream of the view.
      difficulty: the ranges.

    Returns:
      ``(H, W, 3)`` uint8 RGB.
    """
    if rng.random() < difficulty.shadow:
        image = shadow(image, rng)
    image = blur(image, rng, float(rng.uniform(*difficulty.blur)) * max(image.shape[:2]))
    image = light(image, rng, difficulty)
    noise = rng.random(image.shape, dtype=np.float32) - np.float32(0.5)
    noise *= np.float32(np.sqrt(12) * rng.uniform(*difficulty.noise))
    return cv2.add(image, noise, dtype=cv2.CV_8U)


def encode(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of an RGB image."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
