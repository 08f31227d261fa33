"""Options of a benchmark without baselines, unless a test names some."""

from functools import partial

from evaluation.run.config import BenchmarkOptions

Config = partial(BenchmarkOptions, baselines=())
