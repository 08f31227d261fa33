"""Options of a benchmark without baselines, unless a test names some."""

from functools import partial

from evaluation.options import BenchmarkOptions

Config = partial(BenchmarkOptions, baselines=())
