"""Scores submission files of the Google Landmarks Dataset v2 challenges, from CSV files to the report.

The report has the form of other benchmarks, without times and sizes, which submission files do not record.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import check_writable, sha256
from delg.common.options import check, require
from evaluation.benchmarks.gldv2 import CHALLENGES, Challenge, read_solution
from evaluation.benchmarks.gldv2_files import PARTS, read_recognition_predictions, read_retrieval_predictions
from evaluation.benchmarks.method import RowResult
from evaluation.options import BenchmarkOptions
from evaluation.report import files, text
from evaluation.report.model import JsonObject, Report
from evaluation.run.assemble import per_query, report_rows
from evaluation.run.versions import versions
from evaluation.statistics.summary import trusted


def score(options: BenchmarkOptions, say: Callable[[str], None] = print) -> Report:
    """Scores a submission file against a solution.

    Args:
      options: of the command: ``solution_file``, ``predictions_file``, ``output_dir``, ``ignore_non_landmarks``,
        ``released_reading``.
      say: called with each line for the user.

    Returns:
      The report, also written to ``output_dir``; a part (``public``, ``private``) without images in the solution is
      left out.

    Raises:
      InputError: an option or a file is missing, a file is malformed, the output folder cannot be written, or the
        solution holds no public or private image.
    """
    check(options)
    require(options, ["solution_file", "predictions_file", "output_dir"])
    solution_file, predictions_file = str(options.solution_file), str(options.predictions_file)
    challenge = _challenge(options)
    read: Any = read_recognition_predictions if challenge.column == "landmarks" else read_retrieval_predictions
    predictions_of_parts = read(predictions_file, challenge.solution, bool(options.released_reading))
    predictions: dict[str, Mapping[str, Any]] = dict(zip(PARTS, predictions_of_parts, strict=True))
    parts, name = challenge.scored_parts(), Path(predictions_file).stem
    row = RowResult(name, {part: challenge.measure_predictions(part, predictions[part]) for part in parts}, {}, {}, {})
    counts = {
        part: {"images": len(getattr(challenge.solution, part)), "answered": len(predictions[part])} for part in parts
    }
    settings: JsonObject = {
        **challenge.settings(),
        "predictions_file": predictions_file,
        "predictions_sha256": {name: sha256(predictions_file)},
        **({"released_reading": options.released_reading} if options.released_reading else {}),
        "queries": len(challenge.query_names()),
        "images": {name: counts},
    }
    folder = check_writable(str(options.output_dir))
    queries, table = per_query(challenge.query_names(), challenge.clusters(), {name: row.metrics}), report_rows([row])
    main = next(iter(table[0].metrics[parts[0]]))
    report = Report(challenge.name, table, settings, versions(), queries, statistics=trusted(queries, main))
    files.write(folder, report, text.metrics_txt(report))
    say(f"{challenge.name} against {solution_file}")
    for part, count in counts.items():
        say(f"{name}, {part}: {count['answered']} of {count['images']} images have a prediction")
    for part, count in settings.get("queries_without_relevant_images", {}).items():
        if count:
            say(f"{part}: queries without a relevant image, which count as not found: {count}")
    files.show(folder, report, say)
    return report


def _challenge(options: BenchmarkOptions) -> Challenge:
    """The challenge of the solution."""
    path, task = Path(str(options.solution_file)), options.released_reading and f"gldv2_{options.released_reading}"
    name, solution = read_solution(path, task, released=bool(task))
    kind = CHALLENGES[name]
    if options.ignore_non_landmarks and kind.column != "landmarks":
        raise InputError("--ignore_non_landmarks expects a solution of recognition, id,landmarks,Usage.")
    switch: dict[str, Any] = {"ignore_non_landmarks": True} if options.ignore_non_landmarks else {}
    return kind(name, [], [], {}, solution_file=path, solution=solution, **switch)
