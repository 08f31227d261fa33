"""Your own photos: a folder for each instance, no label file.

Layout: ``data_dir/INSTANCE/*.jpg`` (any depth below the instance). Queries: ``queries_dir`` with the same instance
folders, or with single files ``INSTANCE.jpg``; without a query folder every database image is a query in turn.
"""

from pathlib import Path, PurePosixPath

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.labels import PROTOCOL, by_label
from extraction.images import ImageRef, list_images


def folders(data_dir: str, queries_dir: str | None = None) -> Benchmark:
    """A benchmark whose right answers are the images of the query's folder.

    A query that is itself a file of the database is junk for itself (leave one out). There is one protocol, "all".

    Args:
      data_dir: database, a folder for each instance.
      queries_dir: queries; None takes every database image as a query in turn.

    Returns:
      The benchmark. Queries whose instance has no other image in the database have no positives.

    Raises:
      InputError: a folder is missing or empty, an image lies outside of the instance folders, or no query has a
        positive.
    """
    database = list_images(data_dir)
    loose = [image.path for image in database if len(PurePosixPath(image.name).parts) == 1]
    if loose:
        raise InputError(
            f"The benchmark folders expects a folder for each instance in {data_dir}; {loose[0]} has none."
        )
    queries = list_images(queries_dir) if queries_dir else database
    instances = [_instance(image) for image in database]
    truths = by_label(queries, [_instance(query) for query in queries], database, instances)
    if not any(len(truth.positives) for truth in truths):
        raise InputError(
            f"No query of {queries_dir or data_dir} has an image of its instance in {data_dir}: expected folders (or "
            f"query files) named like {', '.join(sorted(set(instances))[:3])}. Received: {_instance(queries[0])}."
        )
    return Benchmark("folders", queries, database, {PROTOCOL: truths}, any_recall=True, own_photos=True)


def _instance(image: ImageRef) -> str:
    """The first folder of the image's name; the file's name without suffix, where the image lies in no folder."""
    parts = PurePosixPath(image.name).parts
    return parts[0] if len(parts) > 1 else Path(image.path).stem
