"""The true geometry of the set: the homography of every view, and the transfer of pixels from one view to another."""

import os
from collections.abc import Iterable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from delg.common.errors import InputError


def project(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """Maps points by a homography.

    Args:
      points: ``(N, 2)`` pixels (x, y); the centre of the top-left pixel is (0, 0).
      homography: ``(3, 3)``, acts on column vectors (x, y, 1).

    Returns:
      ``(N, 2)`` float64.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    mapped = np.column_stack([points, np.ones(len(points))]) @ np.asarray(homography, np.float64).T
    return mapped[:, :2] / mapped[:, 2:]


def transfer(points: np.ndarray, homography_from: np.ndarray, homography_to: np.ndarray) -> np.ndarray:
    """Maps pixels of one view to another view of the same landmark, through the facade plane.

    Args:
      points: ``(N, 2)`` pixels (x, y) of the first view.
      homography_from: ``(3, 3)`` facade plane to the first view.
      homography_to: ``(3, 3)`` facade plane to the second view.

    Returns:
      ``(N, 2)`` float64 pixels of the second view: ``homography_to @ inv(homography_from)`` applied to the points.
    """
    return project(points, np.asarray(homography_to, np.float64) @ np.linalg.inv(homography_from))


def _homography(name: str, matrix: np.ndarray) -> np.ndarray:
    """``(3, 3)`` float64, checked to have an inverse."""
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < 3:
        raise ValueError(f"{name!r} is no homography")
    return matrix


def load_homographies(folder: str | os.PathLike[str], names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the homographies of a set.

    Args:
      folder: the output folder of ``delg-landmarks``.
      names: names of the views; None for all views.

    Returns:
      Name of the view to ``(3, 3)`` float64, which maps pixels of the facade plane to pixels of the image. The names
      are those of imlist and qimlist, and ``train/CLASS/VIEW`` for training views.

    Raises:
      InputError: the folder holds no readable homographies, one cannot be inverted, or a name is not among them.
    """
    path = Path(folder) / "homographies.npz"
    try:
        with np.load(path) as archive:
            requested = archive.files if names is None else list(names)
            unknown = set(requested) - set(archive.files)
            if unknown:
                raise InputError(f"{path} holds no homography of {min(unknown)!r} ({len(unknown)} such names).")
            return {name: _homography(name, archive[name]) for name in requested}
    except InputError:
        raise
    except (OSError, EOFError, TypeError, ValueError, BadZipFile) as error:
        raise InputError(f"{path} cannot be read as the homographies of a landmark set: {error}") from error
