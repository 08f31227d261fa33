"""The procedural landmark set: made by ``delg-landmarks``, laid out like the revisited benchmarks.

Layout: ``data_dir/gnd_landmarks.pkl``, ``data_dir/jpg/NAME.jpg``, and ``data_dir/homographies.npz`` with the true
homography of every view, by which local matching is measured.
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
      The benchmark, with its homographies if their file is there.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    homographies = Path(data_dir) / "homographies.npz"
    benchmark = revisited.read("landmarks", data_dir)
    return replace(benchmark, homographies=homographies if homographies.is_file() else None)
