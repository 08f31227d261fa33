"""A benchmark with a metric of its own: how far down its ranking a query finds the first right image."""

from pathlib import Path

import numpy as np

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.labels import by_label
from evaluation.metrics.metric import Metric
from evaluation.metrics.ranking import adjusted_ranks
from extraction.images import list_images


class FirstRight(Benchmark):
    """Measures the mean reciprocal rank (MRR) of the first right image, and how often it comes first (R@1)."""

    def measure(self, protocol, observations):
        """``observations`` holds, for each query, the ranks of its right images and of its junk."""
        reciprocal = np.full(len(observations), np.nan)  # NaN: a query without right images has no part in the mean
        for q, (truth, (positives, junk)) in enumerate(zip(self.protocols[protocol], observations)):
            ranks = adjusted_ranks(positives, junk)  # 0-based, as if the junk were not there
            if len(truth.positives):
                reciprocal[q] = 1 / (1 + ranks[0]) if len(ranks) else 0
        first = np.where(np.isnan(reciprocal), np.nan, reciprocal == 1)
        return {"MRR": Metric.mean(reciprocal), "R@1": Metric.mean(first, compared=True)}


def first_right(data_dir: str, queries_dir: str | None = None) -> FirstRight:
    """Photos named ``INSTANCE_NUMBER.jpg``; without ``queries_dir`` every photo queries all others."""
    database = list_images(data_dir)
    queries = list_images(queries_dir) if queries_dir else database
    truths = by_label(queries, instances(queries), database, instances(database))
    return FirstRight("first_right", queries, database, {"all": truths}, own_photos=True)


def instances(images):
    """The label of each image: its file name up to the last underscore."""
    return [Path(image.path).stem.rpartition("_")[0] for image in images]
