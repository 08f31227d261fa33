"""The benchmarks by name. A new benchmark is a file in this folder and a line here."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

from delg.common import spec
from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.csv_lists import csv_lists
from evaluation.benchmarks.folders import folders
from evaluation.benchmarks.gldv2 import gldv2_recognition, gldv2_retrieval
from evaluation.benchmarks.instre import instre
from evaluation.benchmarks.msls import msls
from evaluation.benchmarks.revisited import landmarks, roxford5k, rparis6k
from evaluation.benchmarks.vpr import vpr
from evaluation.options import ARGUMENTS, BenchmarkOptions

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "csv": csv_lists,
    "folders": folders,
    "gldv2_recognition": gldv2_recognition,
    "gldv2_retrieval": gldv2_retrieval,
    "instre": instre,
    "landmarks": landmarks,
    "msls": msls,
    "roxford5k": roxford5k,
    "rparis6k": rparis6k,
    "vpr": vpr,
}


def build_benchmark(
    text: str, data_dir: str | None = None, queries_dir: str | None = None, **arguments: Any
) -> Benchmark:
    """The benchmark that a text names.

    Args:
      text: ``name``, ``name(argument=literal, ...)``, or ``module:Class`` of a user's own.
      data_dir: folder of images and ground truth.
      queries_dir: folder of the queries, where it is a separate folder.
      **arguments: further arguments by name, also flags of ``delg-benchmark``; None stands for the default.

    Returns:
      The benchmark; image files are not checked yet (:meth:`Benchmark.check_images`).

    Raises:
      InputError: an unknown name, a wrong argument, or a wrong layout.
    """
    name, _ = spec.parse(text)
    parameters = inspect.signature(spec.factory_of(name, BENCHMARKS, "benchmark")).parameters
    named_arguments = {"data_dir": data_dir, "queries_dir": queries_dir, **arguments}
    named_arguments = {key: value for key, value in named_arguments.items() if value is not None}
    if unknown := [f"--{key}" for key in named_arguments if key not in parameters]:
        accepted = f", which is no Benchmark or takes {', '.join(parameters) or 'nothing'} alone" if ":" in name else ""
        raise InputError(f"{', '.join(unknown)} cannot be combined with --benchmark={name}{accepted}.")
    if (
        "data_dir" in parameters
        and parameters["data_dir"].default is Parameter.empty
        and "data_dir" not in named_arguments
    ):
        raise InputError(f"--benchmark={name} expects --data_dir.")
    benchmark: Benchmark = spec.build(text, BENCHMARKS, "benchmark", base=Benchmark, **named_arguments)
    return benchmark


def benchmark_of(text: str, options: BenchmarkOptions) -> Benchmark:
    """The benchmark that a text names, with arguments from the options of the command."""
    return build_benchmark(text, **{name: getattr(options, name) or None for name in ARGUMENTS})
