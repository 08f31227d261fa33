"""The procedural landmark set: written by ``delg-landmarks`` in the layout of the revisited benchmarks.

Layout: ``data_dir/gnd_landmarks.pkl``, ``data_dir/jpg/NAME.jpg``, and ``data_dir/homographies.npz`` with the true
homography of every view, for the inlier accuracy of local matching.
"""

from dataclasses import replace
from pathlib import Path

from evaluation.benchmarks import revisited
from evaluation.benchmarks.base import Benchmark


def landmarks(data_dir: str) -> Benchmark:
    """The set in ``data_dir``.

    Args:
      data_dir: the folder that ``delg-landmarks`` wrote.

    Returns:
      The benchmark, with homographies if their file exists.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    homographies = Path(data_dir) / "homographies.npz"
    benchmark = revisited.read("landmarks", data_dir)
    return replace(benchmark, homographies=homographies if homographies.is_file() else None)
