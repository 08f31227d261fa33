"""The benchmarks by name. A new one is a file in this folder and a line here."""

from collections.abc import Callable

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.folders import folders
from evaluation.benchmarks.landmarks import landmarks
from evaluation.benchmarks.revisited import roxford5k, rparis6k
from protos import spec

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "folders": folders,
    "landmarks": landmarks,
    "roxford5k": roxford5k,
    "rparis6k": rparis6k,
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
    benchmark: Benchmark = spec.build(text, BENCHMARKS, "benchmark", data_dir=data_dir, queries_dir=queries_dir)
    return benchmark
