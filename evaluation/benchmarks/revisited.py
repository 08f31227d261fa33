"""ROxford5k and RParis6k (Radenovic et al., 2018): 70 cropped queries each, 4,993 and 6,322 database images.

Layout, as released: ``data_dir/gnd_roxford5k.pkl`` or ``data_dir/gnd_rparis6k.pkl``, and ``data_dir/jpg/NAME.jpg``
(images of Oxford Buildings or Paris). ``delg-landmarks`` writes its procedural set in this layout, too.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.image_lists import spelled
from evaluation.benchmarks import groundtruth
from evaluation.benchmarks.base import Benchmark
from evaluation.metrics.truth import Truth
from extraction.images import ImageRef

REVISITED = ("roxford5k", "rparis6k")


def read(name: str, data_dir: str | os.PathLike[str]) -> Benchmark:
    """A benchmark of the revisited layout, ``gnd_NAME.pkl`` and ``jpg/``.

    Args:
      name: the benchmark's name, a part of the ground truth's file name.
      data_dir: the folder of ground truth and ``jpg``.

    Returns:
      The benchmark, with each query cropped to its box.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    folder = Path(data_dir)
    return from_file(name, folder / f"gnd_{name}.pkl", folder / "jpg")


def from_dataset(path: str, data_dir: str | None = None, name: str | None = None) -> Benchmark:
    """A benchmark of a ground truth file, for ``--dataset_file_path`` as in the released programs.

    Args:
      path: the ground truth, ``.pkl`` or ``.mat``.
      data_dir: the folder of the images, or of their folder ``jpg``; None for the folder ``jpg`` beside the file. The
        images may be missing where features exist.
      name: the benchmark's name; None takes it from the file, ``gnd_NAME.pkl``.

    Returns:
      The benchmark.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    file = Path(path)
    folder = Path(data_dir) if data_dir else file.parent
    images = folder / "jpg" if not data_dir or (folder / "jpg").is_dir() else folder
    return from_file(name or file.stem.removeprefix("gnd_"), file, images)


def from_file(name: str, path: str | os.PathLike[str], images_dir: str | os.PathLike[str]) -> Benchmark:
    """A benchmark of a ground truth in the revisited form, with images in any folder.

    Args:
      name: the benchmark's name.
      path: the ground truth.
      images_dir: the folder of ``NAME.jpg``.

    Returns:
      The benchmark, with each query cropped to its box.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    truth = groundtruth.load(path)

    def image(image_name: str, crop: groundtruth.Box | None = None) -> ImageRef:
        place = os.fspath(Path(images_dir) / spelled(images_dir, f"{image_name}.jpg"))
        return ImageRef(image_name, place, (crop.x1, crop.y1, crop.x2, crop.y2) if crop else None)

    return Benchmark(
        name,
        [image(query, entry.bbx) for query, entry in zip(truth.queries, truth.labels)],
        [image(row) for row in truth.database],
        revisited(truth.labels),
        truth=Path(path),
    )


def _join(*parts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def revisited(labels: Sequence[groundtruth.Labels]) -> dict[str, list[Truth]]:
    """The three protocols of the revisited benchmarks (Radenovic et al., 2018, section 3.3).

    Easy: easy images are right, hard images are junk. Medium: easy and hard images are right. Hard: hard images are
    right, easy images are junk.

    Args:
      labels: the sets of each query.

    Returns:
      ``{"easy": [...], "medium": [...], "hard": [...]}``, a truth for each query.
    """
    return {
        "easy": [Truth(_join(entry.easy), _join(entry.junk, entry.hard)) for entry in labels],
        "medium": [Truth(_join(entry.easy, entry.hard), _join(entry.junk)) for entry in labels],
        "hard": [Truth(_join(entry.hard), _join(entry.junk, entry.easy)) for entry in labels],
    }


def roxford5k(data_dir: str) -> Benchmark:
    """Revisited Oxford."""
    return read("roxford5k", data_dir)


def rparis6k(data_dir: str) -> Benchmark:
    """Revisited Paris."""
    return read("rparis6k", data_dir)


def landmarks(data_dir: str) -> Benchmark:
    """The procedural set in the folder that ``delg-landmarks`` wrote.

    Returns:
      The benchmark, with ``homographies.npz``, the true homography of each view, if that file exists.
    """
    homographies = Path(data_dir) / "homographies.npz"
    return replace(read("landmarks", data_dir), homographies=homographies if homographies.is_file() else None)
