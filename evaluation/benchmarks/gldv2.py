"""The Google Landmarks Dataset v2 as it is released: images by their ids, and its CSV files beside them.

Layout: ``data_dir/test/0/1/2/012....jpg``, likewise ``index`` (retrieval) and ``train`` (recognition), and
``retrieval_solution_v2.1.csv``, ``recognition_solution_v2.1.csv``, ``train.csv`` or ``train_clean.csv``.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evaluation.benchmarks.base import Benchmark
from extraction.images import ImageRef, list_images
from extraction.official import check_name
from protos.errors import InputError

RETRIEVAL, RECOGNITION = "gldv2_retrieval", "gldv2_recognition"
TASKS = (RETRIEVAL, RECOGNITION)
VERSION = "v2.1"
LABELS = ("train_clean.csv", "train.csv")  # the first that is there
SHORTEST = 3  # characters of an id that make folders


@dataclass(frozen=True)
class Files:
    """The CSV files of a task.

    Attributes:
      solution: of the challenge.
      labels: classes of the index images; None for retrieval.
    """

    solution: str
    labels: str | None


def files(task: str, data_dir: str | None, solution: str | None, labels: str | None) -> Files:
    """The CSV files: those that are given, else those of the data folder.

    Raises:
      InputError: one is neither given nor there.
    """
    root = Path(data_dir) if data_dir else None
    if not solution and root:
        solution = os.fspath(root / f"{task.removeprefix('gldv2_')}_solution_{VERSION}.csv")
    if not solution:
        raise InputError(f"{task} expects --solution_file, or --data_dir with it.")
    if task == RETRIEVAL:
        return Files(solution, None)
    if not labels and root:
        labels = next((os.fspath(root / name) for name in LABELS if (root / name).is_file()), None)
    if not labels:
        raise InputError(f"{task} expects --labels_file, CSV with id,landmark_id or landmark_id,images.")
    return Files(solution, labels)


def images(task: str, data_dir: str, queries: Iterable[str], trained: Iterable[str] | None) -> Benchmark:
    """The images of a task.

    Args:
      task: one of :data:`TASKS`.
      data_dir: the folder of ``test`` and of ``index`` or ``train``.
      queries: ids of the images of ``test`` that are answered.
      trained: for recognition, ids of the images of ``train`` that have a class; None takes all of ``index``.

    Returns:
      Queries and database without truths; a name is ``0/1/2/ID``.

    Raises:
      InputError: a folder is missing, an id is no name, or an image file is missing.
    """
    root = Path(data_dir)
    asked = [_image(root / "test", name) for name in queries]
    database = list_images(root / "index") if trained is None else [_image(root / "train", name) for name in trained]
    found = Benchmark(task, asked, database, {})
    found.check_images()
    return found


def _image(folder: Path, image: str) -> ImageRef:
    """An image in the folders of the first three characters of its id."""
    check_name(image, f"{folder}")
    if len(image) < SHORTEST or "/" in image:
        raise InputError(f"GLDv2 expects ids of {SHORTEST} characters or more. Received: {image!r}")
    name = f"{image[0]}/{image[1]}/{image[2]}/{image}"
    return ImageRef(name, os.fspath(folder / f"{name}.jpg"))
