"""Scores of answers to the Google Landmarks Dataset v2 challenges, from their CSV files to the report.

The report is that of other benchmarks, without times and sizes where the answers were made elsewhere.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import check_writable, sha256
from delg.common.text_files import columns
from evaluation import landmark_report
from evaluation.benchmarks import gldv2_files
from evaluation.landmark_parts import Part, recognition, retrieval
from evaluation.landmark_pictures import Shown, pictures
from evaluation.landmark_report import PARTS
from evaluation.metrics.gldv2 import Solution
from evaluation.report import files as written
from evaluation.report.model import Report
from evaluation.report.text import block_suffix

Metrics = dict[str, float]


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      solution_file: CSV with ``id,landmarks,Usage`` or ``id,images,Usage``.
      predictions_file: CSV with ``id,landmarks`` or ``id,images``.
      output_dir: where the report goes.
      ignore_non_landmarks: in recognition, leave images without a landmark out of the global average precision.
      released_reading: ``"recognition"`` or ``"retrieval"``: read both files as the released code of that task does,
        see :mod:`evaluation.benchmarks.gldv2_files`; None finds the columns and the task by their names.
    """

    solution_file: str
    predictions_file: str
    output_dir: str
    ignore_non_landmarks: bool = False
    released_reading: str | None = None


@dataclass(frozen=True)
class Challenge:
    """One of the two: its name, and how its files are read and scored."""

    name: str
    read_solution: Callable[[str, bool], Any]
    read_predictions: Callable[[str, Any, bool], tuple[Mapping[str, Any], Mapping[str, Any]]]
    score: Callable[[Any, Solution, bool], Part]


CHALLENGES = {
    "landmarks": Challenge(
        "gldv2_recognition",
        gldv2_files.read_recognition_solution,
        gldv2_files.read_recognition_predictions,
        recognition,
    ),
    "images": Challenge(
        "gldv2_retrieval",
        gldv2_files.read_retrieval_solution,
        gldv2_files.read_retrieval_predictions,
        lambda answers, solution, _: retrieval(answers, solution),
    ),
}


TASKS = {challenge.name.removeprefix("gldv2_"): challenge for challenge in CHALLENGES.values()}


def read(path: str, ignore_non_landmarks: bool = False, released_reading: str | None = None) -> tuple[Challenge, Any]:
    """The challenge of a solution, and what the file holds.

    Args:
      path: the file.
      ignore_non_landmarks: see :class:`Config`.
      released_reading: likewise.

    Raises:
      InputError: the file is missing or not of its form, an unknown task, no image counts, or images without a landmark
        are to be left out of retrieval, whose queries all show one.
    """
    challenge = TASKS.get(released_reading) if released_reading else challenge_of(path)
    if challenge is None:
        raise InputError(f"--released_reading expects {' or '.join(TASKS)}. Received: {released_reading}")
    if ignore_non_landmarks and challenge.name != "gldv2_recognition":
        raise InputError("--ignore_non_landmarks goes with a solution of recognition, id,landmarks,Usage.")
    solution = challenge.read_solution(path, bool(released_reading))
    if not any(getattr(solution, part) for part in PARTS):
        raise InputError(f"{path} has no image of the Usage Public or Private.")
    return challenge, solution


def challenge_of(path: str | os.PathLike[str]) -> Challenge:
    """The challenge of a solution, told from its columns.

    Raises:
      InputError: the file cannot be read, or has not exactly one of the columns ``landmarks`` and ``images``.
    """
    names = columns(path)
    found = [challenge for column, challenge in CHALLENGES.items() if column in names]
    if len(found) != 1:
        forms = " or ".join(f"id,{column},Usage" for column in CHALLENGES)
        raise InputError(f"{path} expects the columns {forms}. Received: {','.join(names)}")
    return found[0]


@dataclass(frozen=True)
class Answers:
    """A row of the report before it is scored.

    Attributes:
      path: its submission file.
      ms_per_query: milliseconds of the stages ``search`` and ``rerank``; empty where only the file is known.
      bytes_per_image: of the index, ``global`` and ``local``; likewise.
    """

    path: str
    ms_per_query: dict[str, float] = field(default_factory=dict)
    bytes_per_image: dict[str, float] = field(default_factory=dict)


def score(config: Config, say: Callable[[str], None] = print) -> Report:
    """Scores one submission file against a solution; see :func:`score_rows`."""
    settings = {"predictions_file": config.predictions_file}
    settings |= {"released_reading": config.released_reading} if config.released_reading else {}
    rows = {Path(config.predictions_file).stem: Answers(config.predictions_file)}
    return score_rows(
        config.solution_file,
        rows,
        config.output_dir,
        ignore_non_landmarks=config.ignore_non_landmarks,
        released_reading=config.released_reading,
        settings=settings,
        say=say,
    )


def score_rows(
    solution_file: str,
    rows: Mapping[str, Answers],
    output_dir: str,
    *,
    ignore_non_landmarks: bool = False,
    released_reading: str | None = None,
    settings: Mapping[str, Any] | None = None,
    skipped: Mapping[str, Sequence[Any]] | None = None,
    shown: Shown | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Scores submission files against a solution.

    Args:
      solution_file: see :class:`Config`.
      rows: the answers by the names of their rows.
      output_dir: see :class:`Config`.
      ignore_non_landmarks: see :class:`Config`.
      released_reading: likewise.
      settings: what else is recorded.
      skipped: images that could not be read, by role.
      shown: of what the page shows pictures; None without.
      say: is given the lines for the user.

    Returns:
      The report, which also lies in ``output_dir``; a part (``public``, ``private``) that the solution has no images of
      is left out.

    Raises:
      InputError: a file is missing or not of its form, the output folder cannot be written, or no image counts.
    """
    challenge, solution = read(solution_file, ignore_non_landmarks, released_reading)
    scored: dict[str, dict[str, Part]] = {}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name, answers in rows.items():
        given = challenge.read_predictions(answers.path, solution, bool(released_reading))
        truths = {part: getattr(solution, part) for part in PARTS}
        pairs = [(part, found, truth) for found, (part, truth) in zip(given, truths.items(), strict=True) if truth]
        scored[name] = {part: challenge.score(found, truth, ignore_non_landmarks) for part, found, truth in pairs}
        counts[name] = {part: {"images": len(truth), "answered": len(found)} for part, found, truth in pairs}
    folder = check_writable(output_dir)
    costs = {name: (answers.ms_per_query, answers.bytes_per_image) for name, answers in rows.items()}
    recorded: dict[str, Any] = {"solution_file": solution_file, "solution_file_sha256": sha256(solution_file)}
    recorded |= {"predictions_sha256": {name: sha256(answers.path) for name, answers in rows.items()}}
    recorded |= {"queries": sum(len(getattr(solution, part)) for part in PARTS)}
    recorded |= _of_task(challenge, solution, ignore_non_landmarks) | dict(settings or {}) | {"images": counts}
    report = landmark_report.make(challenge.name, solution, scored, costs, settings=recorded, skipped=skipped or {})
    files = {name: answers.path for name, answers in rows.items()}
    cards, overlays = pictures(shown, solution, report, files) if shown else ([], [])
    written.write(folder, report, metrics_txt(_blocks(scored)), cards, overlays)
    _show(folder, report, say)
    return report


def _of_task(challenge: Challenge, solution: Any, ignore_non_landmarks: bool) -> dict[str, Any]:
    """What is recorded of one of the tasks alone."""
    if challenge.name == "gldv2_recognition":
        return {"ignore_non_landmarks": ignore_non_landmarks}
    empty = {part: sum(not names for names in getattr(solution, part).values()) for part in PARTS}
    return {"queries_without_relevant_images": empty}


def _show(folder: Path, report: Report, say: Callable[[str], None]) -> None:
    """Gives the user the counts, the table and the place of the page."""
    say(f"{report.benchmark} against {report.settings['solution_file']}")
    for name, parts in report.settings["images"].items():
        for part, count in parts.items():
            say(f"{name}, {part}: {count['answered']} of {count['images']} images have an answer")
    for part, count in report.settings.get("queries_without_relevant_images", {}).items():
        if count:
            say(f"{part}: queries without a relevant image, which count as not found: {count}")
    written.show(folder, report, say)


def _blocks(scored: Mapping[str, Mapping[str, Part]]) -> dict[str, Metrics]:
    """The blocks of ``metrics.txt`` by their names."""
    first = next(iter(scored)).partition("+")[0]
    return {
        part + block_suffix(row, first): found.metrics for row, parts in scored.items() for part, found in parts.items()
    }


def metrics_txt(metrics: Mapping[str, Metrics]) -> str:
    """``metrics.txt``: a block for each part, sorted by name; percent, and 1-based places, of two digits."""
    lines = []
    for part in sorted(metrics):
        lines += [part, *(f"  {name}={value:.2f}" for name, value in metrics[part].items())]
    return "\n".join(lines) + "\n"
