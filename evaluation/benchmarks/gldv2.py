"""The Google Landmarks Dataset v2 as it is released: images by their ids, and its CSV files beside them.

Layout: ``data_dir/test/0/1/2/012....jpg``, likewise ``index`` (retrieval) and ``train`` (recognition), and
``retrieval_solution_v2.1.csv``, ``recognition_solution_v2.1.csv``, ``train.csv`` or ``train_clean.csv``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from delg.common.errors import InputError
from evaluation import landmark_scores
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.gldv2_files import Solution
from evaluation.benchmarks.gldv2_votes import check_plain, image_id, read_classes
from extraction.formats.official import check_name
from extraction.images import ImageRef, list_images

RETRIEVAL, RECOGNITION = "gldv2_retrieval", "gldv2_recognition"
TASKS = (RETRIEVAL, RECOGNITION)
VERSION = "v2.1"
LABELS = ("train_clean.csv", "train.csv")  # the first that is there
SHORTEST = 3  # characters of an id that make folders


@dataclass(frozen=True)
class Truth:
    """What the CSV files of a task say.

    Attributes:
      solution_file: of the challenge.
      solution: what it holds.
      labels_file: classes of the index images; None for retrieval.
      classes: what it holds, the class of each image id; likewise.
    """

    solution_file: str
    solution: Solution
    labels_file: str | None
    classes: dict[str, int] | None


def read(
    task: str,
    data_dir: str | None,
    solution_file: str | None,
    labels_file: str | None,
    ignore_non_landmarks: bool = False,
) -> Truth:
    """Reads the CSV files: those that are given, else those of the data folder.

    Raises:
      InputError: one is neither given nor there, is not of its form, or is of the other task; or see
        :func:`evaluation.landmark_scores.read`.
    """
    root = Path(data_dir) if data_dir else None
    if not solution_file and root:
        solution_file = os.fspath(root / f"{task.removeprefix('gldv2_')}_solution_{VERSION}.csv")
    if not solution_file:
        raise InputError(f"{task} expects --solution_file, or --data_dir with it.")
    challenge, solution = landmark_scores.read(solution_file, ignore_non_landmarks)
    if challenge.name != task:
        raise InputError(f"{solution_file} is a solution of {challenge.name}, not of {task}.")
    if task == RETRIEVAL:
        return Truth(solution_file, solution, None, None)
    if not labels_file and root:
        labels_file = next((os.fspath(root / name) for name in LABELS if (root / name).is_file()), None)
    if not labels_file:
        raise InputError(f"{task} expects --labels_file, CSV with id,landmark_id or landmark_id,images.")
    return Truth(solution_file, solution, labels_file, read_classes(labels_file))


def check_ids(truth: Truth, queries: Sequence[str], index: Sequence[str]) -> None:
    """Proves that features are of a task's images, before anything is searched.

    Args:
      truth: what the CSV files say.
      queries: names of the images that are asked for.
      index: names of the images that are searched.

    Raises:
      InputError: a query is not of the solution, or is there twice, or the index holds no relevant image, or an id that
        cannot be written as an answer.
    """
    solution, asked = truth.solution, [image_id(name) for name in queries]
    known = solution.public.keys() | solution.private.keys() | solution.ignored
    lost = [name for name in asked if name not in known]
    if lost:
        raise InputError(
            f"{truth.solution_file} lacks {len(lost)} of the {len(asked)} query images, such as {lost[0]!r}."
        )
    if len(set(asked)) < len(asked):
        raise InputError("Two query images have one id; GLDv2 tells images by the names of their files.")
    if truth.classes is None:
        check_plain(index, RETRIEVAL)
        relevant = {name for part in (solution.public, solution.private) for names in part.values() for name in names}
        if relevant.isdisjoint(map(image_id, index)):
            raise InputError(
                f"None of the {len(relevant)} relevant images of {truth.solution_file} is among the {len(index)} index "
                f"images, such as {image_id(index[0]) if index else 'none'}."
            )


def images(task: str, data_dir: str, truth: Truth) -> Benchmark:
    """The images of a task: the test images that count, and all of ``index``, or those of ``train`` with a class.

    Args:
      task: one of :data:`TASKS`.
      data_dir: the folder of ``test`` and of ``index`` or ``train``.
      truth: what the CSV files say.

    Returns:
      Queries and database without truths; a name is ``0/1/2/ID``. Image files are not looked at yet.

    Raises:
      InputError: the folder ``index`` is missing, or an id is no name or cannot be written as an answer.
    """
    root, trained = Path(data_dir), truth.classes
    asked = [_image(root / "test", name) for name in (*truth.solution.public, *truth.solution.private)]
    database = list_images(root / "index") if trained is None else [_image(root / "train", name) for name in trained]
    if trained is None:
        check_plain([image.name for image in database], task)
    return Benchmark(task, asked, database, {})


def _image(folder: Path, image: str) -> ImageRef:
    """An image in the folders of the first three characters of its id."""
    check_name(image, f"{folder}")
    if len(image) < SHORTEST or "/" in image:
        raise InputError(f"GLDv2 expects ids of {SHORTEST} characters or more. Received: {image!r}")
    name = f"{image[0]}/{image[1]}/{image[2]}/{image}"
    return ImageRef(name, os.fspath(folder / f"{name}.jpg"))
