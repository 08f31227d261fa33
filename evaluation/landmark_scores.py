"""Scores of answers to the Google Landmarks Dataset v2 challenges, from their CSV files to a small report.

The report is ``report.json`` (``benchmark``, ``rows``, ``settings``, ``versions``, as that of other benchmarks, but
without times and sizes, which the files do not tell) and ``metrics.txt``.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation import landmark_files
from evaluation.csv_files import columns
from evaluation.landmark_metrics import (
    MAX_PREDICTIONS,
    Prediction,
    Retrieved,
    Solution,
    first_positions,
    gap,
    mean_average_precision,
    mean_precisions,
    top1_accuracy,
)
from evaluation.versions import versions
from protos.errors import InputError
from protos.files import check_writable, sha256, write_json, write_text

KS = (1, 5, 10, 100)
JSON, METRICS = "report.json", "metrics.txt"
JsonObject = dict[str, Any]
Metrics = dict[str, float]


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      solution_file: CSV with ``id,landmarks,Usage`` or ``id,images,Usage``.
      predictions_file: CSV with ``id,landmarks`` or ``id,images``.
      output_dir: where the report goes.
      ignore_non_landmarks: in recognition, leave images without a landmark out of the global average precision.
    """

    solution_file: str
    predictions_file: str
    output_dir: str
    ignore_non_landmarks: bool = False


def recognition(answers: Mapping[str, Prediction], solution: Solution, ignore_non_landmarks: bool) -> Metrics:
    """``GAP`` and ``top-1`` in percent; see :func:`evaluation.landmark_metrics.gap`."""
    return {
        "GAP": 100 * gap(answers, solution, ignore_non_landmarks),
        "top-1": 100 * top1_accuracy(answers, solution),
    }


def retrieval(answers: Retrieved, solution: Solution, ignore_non_landmarks: bool = False) -> Metrics:
    """``mAP@100`` and ``mP@k`` in percent, and mean and median place of the first relevant image.

    Raises:
      InputError: images without a landmark are to be left out; queries of retrieval all show one.
    """
    if ignore_non_landmarks:
        raise InputError("--ignore_non_landmarks goes with a solution of recognition, id,landmarks,Usage.")
    precisions = mean_precisions(answers, solution)
    mean, median = first_positions(answers, solution)
    return {
        f"mAP@{MAX_PREDICTIONS}": 100 * mean_average_precision(answers, solution),
        **{f"mP@{k}": 100 * float(precisions[k - 1]) for k in KS},
        "mean position": mean,
        "median position": median,
    }


@dataclass(frozen=True)
class Challenge:
    """One of the two: its name, and how its files are read and scored."""

    name: str
    read_solution: Callable[[str], Any]
    read_predictions: Callable[[str, Any], tuple[Mapping[str, Any], Mapping[str, Any]]]
    score: Callable[[Any, Solution, bool], Metrics]


CHALLENGES = {
    "landmarks": Challenge(
        "gldv2_recognition",
        landmark_files.read_recognition_solution,
        landmark_files.read_recognition_predictions,
        recognition,
    ),
    "images": Challenge(
        "gldv2_retrieval",
        landmark_files.read_retrieval_solution,
        landmark_files.read_retrieval_predictions,
        retrieval,
    ),
}


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


def score(config: Config, say: Callable[[str], None] = print) -> JsonObject:
    """Scores predictions against a solution.

    Args:
      config: what is asked for.
      say: is given the lines for the user.

    Returns:
      The report, which also lies in ``config.output_dir``; a part (``public``, ``private``) that the solution has no
      images of is left out.

    Raises:
      InputError: a file is missing or not of its form, the output folder cannot be written, or no image counts.
    """
    challenge = challenge_of(config.solution_file)
    solution = challenge.read_solution(config.solution_file)
    answers = challenge.read_predictions(config.predictions_file, solution)
    metrics, counts = {}, {}
    for part, given in zip(("public", "private"), answers, strict=True):
        truth = getattr(solution, part)
        if truth:
            metrics[part] = challenge.score(given, truth, config.ignore_non_landmarks)
            counts[part] = {"images": len(truth), "answered": len(given)}
    if not metrics:
        raise InputError(f"{config.solution_file} has no image of the Usage Public or Private.")
    report = _report(config, challenge, metrics, counts)
    folder = check_writable(config.output_dir)
    text = metrics_txt(metrics)
    write_text(folder / METRICS, text)
    write_json(folder / JSON, report)
    say(f"{challenge.name}: {config.predictions_file} against {config.solution_file}")
    for part, count in counts.items():
        say(f"{part}: {count['answered']} of {count['images']} images have an answer")
    say(f"\n{text}")
    say(f"Report: {(folder / JSON).resolve()}")
    return report


def _report(config: Config, challenge: Challenge, metrics: dict[str, Metrics], counts: JsonObject) -> JsonObject:
    """``report.json``."""
    settings: JsonObject = {}
    for role, path in (("solution_file", config.solution_file), ("predictions_file", config.predictions_file)):
        settings |= {role: path, f"{role}_sha256": sha256(path)}
    if challenge.name == "gldv2_recognition":
        settings["ignore_non_landmarks"] = config.ignore_non_landmarks
    return {
        "benchmark": challenge.name,
        "rows": [{"method": Path(config.predictions_file).stem, "metrics": metrics}],
        "settings": settings | {"images": counts},
        "versions": versions(),
    }


def metrics_txt(metrics: Mapping[str, Metrics]) -> str:
    """``metrics.txt``: a block for each part, sorted by name; percent, and 1-based places, of two digits."""
    lines = []
    for part in sorted(metrics):
        lines += [part, *(f"  {name}={value:.2f}" for name, value in metrics[part].items())]
    return "\n".join(lines) + "\n"
