"""Scores of answers to the Google Landmarks Dataset v2 challenges, from their CSV files to a small report.

The report is ``report.json`` (``benchmark``, ``rows``, ``settings``, ``versions``, as that of other benchmarks, but
without times and sizes, which the files do not tell) and ``metrics.txt``.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
PARTS = ("public", "private")
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


def score(config: Config, say: Callable[[str], None] = print) -> JsonObject:
    """Scores one submission file against a solution; see :func:`score_rows`."""
    settings = {"predictions_file": config.predictions_file}
    rows = {Path(config.predictions_file).stem: Answers(config.predictions_file)}
    return score_rows(
        config.solution_file,
        rows,
        config.output_dir,
        ignore_non_landmarks=config.ignore_non_landmarks,
        settings=settings,
        say=say,
    )


def score_rows(
    solution_file: str,
    rows: Mapping[str, Answers],
    output_dir: str,
    *,
    ignore_non_landmarks: bool = False,
    settings: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> JsonObject:
    """Scores submission files against a solution.

    Args:
      solution_file: see :class:`Config`.
      rows: the answers by the names of their rows.
      output_dir: see :class:`Config`.
      ignore_non_landmarks: see :class:`Config`.
      settings: what else is recorded.
      say: is given the lines for the user.

    Returns:
      The report, which also lies in ``output_dir``; a part (``public``, ``private``) that the solution has no images of
      is left out.

    Raises:
      InputError: a file is missing or not of its form, the output folder cannot be written, or no image counts.
    """
    challenge = challenge_of(solution_file)
    solution = challenge.read_solution(solution_file)
    scored, counts = [], {}
    written: dict[str, Metrics] = {}
    first = next(iter(rows)).partition("+")[0]
    for name, answers in rows.items():
        given = challenge.read_predictions(answers.path, solution)
        found, counts[name] = _scored(challenge, solution, given, ignore_non_landmarks)
        if not found:
            raise InputError(f"{solution_file} has no image of the Usage Public or Private.")
        costs = {"ms_per_query": answers.ms_per_query, "bytes_per_image": answers.bytes_per_image}
        scored.append({"method": name, "metrics": found} | {key: value for key, value in costs.items() if value})
        written |= {part + _suffix(name, first): values for part, values in found.items()}
    recorded: JsonObject = {"solution_file": solution_file, "solution_file_sha256": sha256(solution_file)}
    recorded |= {"predictions_sha256": {name: sha256(answers.path) for name, answers in rows.items()}}
    if challenge.name == "gldv2_recognition":
        recorded["ignore_non_landmarks"] = ignore_non_landmarks
    else:
        recorded["queries_without_relevant_images"] = {
            part: sum(not names for names in getattr(solution, part).values()) for part in PARTS
        }
    recorded |= dict(settings or {}) | {"images": counts}
    report = {"benchmark": challenge.name, "rows": scored, "settings": recorded, "versions": versions()}
    _write(report, metrics_txt(written), check_writable(output_dir), say)
    return report


def _write(report: JsonObject, text: str, folder: Path, say: Callable[[str], None]) -> None:
    """Writes both files and shows the text."""
    write_text(folder / METRICS, text)
    write_json(folder / JSON, report)
    say(f"{report['benchmark']} against {report['settings']['solution_file']}")
    for name, parts in report["settings"]["images"].items():
        for part, count in parts.items():
            say(f"{name}, {part}: {count['answered']} of {count['images']} images have an answer")
    for part, count in report["settings"].get("queries_without_relevant_images", {}).items():
        if count:
            say(f"{part}: queries without a relevant image, which count as not found: {count}")
    say(f"\n{text}")
    say(f"Report: {(folder / JSON).resolve()}")


def _scored(
    challenge: Challenge, solution: Any, given: Sequence[Mapping[str, Any]], ignore_non_landmarks: bool
) -> tuple[dict[str, Metrics], dict[str, dict[str, int]]]:
    """Metrics, and numbers of images and of answers, of each part that the solution has images of."""
    metrics, counts = {}, {}
    for part, answers in zip(PARTS, given, strict=True):
        truth = getattr(solution, part)
        if truth:
            metrics[part] = challenge.score(answers, truth, ignore_non_landmarks)
            counts[part] = {"images": len(truth), "answered": len(answers)}
    return metrics, counts


def _suffix(row: str, first: str) -> str:
    """What a row's blocks are called besides their part, as in the ``metrics.txt`` of other benchmarks.

    >>> _suffix("global+ransac", "global"), _suffix("rootsift", "global")
    ('_after_gv', '_rootsift')
    """
    method, _, reranker = row.partition("+")
    after = f"_after_{'gv' if reranker == 'ransac' else reranker}" if reranker else ""
    return ("" if method == first else f"_{method}") + after


def metrics_txt(metrics: Mapping[str, Metrics]) -> str:
    """``metrics.txt``: a block for each part, sorted by name; percent, and 1-based places, of two digits."""
    lines = []
    for part in sorted(metrics):
        lines += [part, *(f"  {name}={value:.2f}" for name, value in metrics[part].items())]
    return "\n".join(lines) + "\n"
