"""The benchmarks by name. A new one is a file in this folder and a line here."""

from collections.abc import Callable

from delg.common import spec
from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.csv_lists import csv_lists
from evaluation.benchmarks.folders import folders
from evaluation.benchmarks.instre import instre
from evaluation.benchmarks.landmarks import landmarks
from evaluation.benchmarks.msls import msls
from evaluation.benchmarks.revisited import roxford5k, rparis6k
from evaluation.benchmarks.vpr import vpr

LANDMARKS = ("gldv2_recognition", "gldv2_retrieval")  # run by evaluation.landmark_run, of these names alone

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "csv": csv_lists,
    "folders": folders,
    "instre": instre,
    "landmarks": landmarks,
    "msls": msls,
    "roxford5k": roxford5k,
    "rparis6k": rparis6k,
    "vpr": vpr,
}


def build_benchmark(text: str, data_dir: str, queries_dir: str | None = None) -> Benchmark:
    """The benchmark that a text names.

    Args:
      text: ``name`` or ``name(argument=literal, ...)``.
      data_dir: where its images and ground truth lie.
      queries_dir: where its queries lie, for benchmarks that have them apart.

    Returns:
      The benchmark; image files are not looked at yet (:meth:`Benchmark.check_images`).

    Raises:
      InputError: an unknown name, a wrong argument, or a wrong layout.
    """
    name, _ = spec.parse(text)
    if name not in BENCHMARKS:
        raise InputError(f"Unknown benchmark {name!r}; the choices are {', '.join(sorted([*BENCHMARKS, *LANDMARKS]))}.")
    benchmark: Benchmark = spec.build(text, BENCHMARKS, "benchmark", data_dir=data_dir, queries_dir=queries_dir)
    return benchmark
