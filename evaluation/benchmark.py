r"""Benchmarks a model: extracts features, searches, reranks, and writes a report with one page to open.

A run that was interrupted continues with the same command. Features that exist can be a feature store of delg-extract,
a folder of files NAME.delg_global (and NAME.delg_local) as the released programs write them, or those of another
program; images then are used for the page only.

Answers to the Google Landmarks Dataset v2 challenges are scored from their CSV files: recognition (GAP) or retrieval
(mAP@100), by the columns of the solution.

Example:
  delg-benchmark --benchmark=landmarks --data_dir=landmarks --model=model --output_dir=report
  delg-benchmark --check --benchmark=roxford5k --data_dir=roxford5k
  delg-benchmark --dataset_file_path=gnd_roxford5k.pkl --query_features_dir=query --index_features_dir=index \
    --output_dir=report
  delg-benchmark --benchmark=gldv2_recognition --data_dir=gldv2 --model=model --rerank=ransac --output_dir=report
  delg-benchmark --solution_file=solution.csv --predictions_file=predictions.csv --output_dir=report
"""

from dataclasses import fields

from delg.common.options import define_flags, from_flags, refuse
from evaluation.options import ARGUMENTS, BenchmarkOptions

define_flags(BenchmarkOptions)
FILES = ("solution_file", "predictions_file", "released_reading", "ignore_non_landmarks", "output_dir")
CHECK = ("check", "write_sums", "benchmark", "distractors_dir", *ARGUMENTS)


def main() -> None:
    """Runs the benchmark, scores the answers to a challenge, or verifies a data folder."""
    options = from_flags(BenchmarkOptions)
    if options.check or options.write_sums:
        _refuse_others("--check" if options.check else "--write_sums", options, CHECK)
        from evaluation.data.check import check_data

        check_data(options)
    elif options.predictions_file or options.released_reading or (options.solution_file and not options.benchmark):
        _refuse_others("--predictions_file", options, FILES)
        from evaluation.run.scoring import score

        score(options)
    else:
        from evaluation.run.pipeline import benchmark

        benchmark(options)


def _refuse_others(mode: str, options: BenchmarkOptions, used_fields: tuple[str, ...]) -> None:
    """Checks that only options of this mode are set."""
    refuse(mode, options, [field.name for field in fields(options) if field.name not in used_fields])
