"""A benchmark run: its options checked, then its features ready."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import FIRST_STAGE, Method, RowResult, file_name
from evaluation.options import BenchmarkOptions
from evaluation.predictions.files import Predictions
from evaluation.run.baselines import Baselines
from evaluation.run.result_cache import ResultCache
from extraction.extractors.base import Extractor
from matching.rerankers.table import suited

PREDICTIONS = "predictions"  # folder of submission files and of --predictions


@dataclass(frozen=True, eq=False)
class Plan:
    """A run whose options are checked.

    Attributes:
      options: options of the command.
      benchmark: queries, database and truths.
      rerankers: row suffix to the reranker's text, for the model under test.
      baselines: baselines beside the model.
      extractors: extractors by name of the method; empty where the features exist.
      folder: output folder.
      predictions: writes the rankings; None without ``--predictions``.
      homographies: the true homographies by image name; empty where the benchmark has none.
    """

    options: BenchmarkOptions
    benchmark: Benchmark
    rerankers: dict[str, str]
    baselines: Baselines
    extractors: dict[str, Extractor]
    folder: Path
    predictions: Predictions | None
    homographies: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Extracted(Plan):
    """A run whose features exist.

    Attributes:
      methods: features of the model under test, then of the baselines.
      mismatches: differences between the features' recorded protocol and the benchmark's, a sentence each.
      caches: the result cache of each method.
    """

    methods: tuple[Method, ...] = ()
    mismatches: tuple[str, ...] = ()
    caches: tuple[ResultCache, ...] = ()

    def reranker_texts(self, method: str = FIRST_STAGE) -> dict[str, str]:
        """The rerankers of a method, by row suffix; of the user's own photos as their features are matched best."""
        texts = self.baselines.rerankers(method, self.rerankers)
        if not self.benchmark.own_photos:
            return texts
        settings = next((one.database.settings for one in self.methods if one.name == method), {})
        return {name: suited(text, settings) for name, text in texts.items()}

    def finished_row(self, cache: ResultCache, row: str) -> RowResult | None:
        """A row of an earlier run, if the row's files are on disk too."""
        result = cache.get(row)
        if result is None or not (self.predictions is None or self.predictions.complete(row, list(result.metrics))):
            return None
        return None if self.benchmark.submits and not self.submission_file(row).is_file() else result

    def submission_file(self, row: str) -> Path:
        """The submission file of a row, for the benchmark's organisers."""
        plain = all(character.isalnum() or character in "+-_." for character in row)
        return self.folder / PREDICTIONS / f"{row if plain else file_name(row)}.csv"
