"""Your own photos with CSV lists, which give each image a label and maybe a box.

Layout: ``data_dir/database.csv`` and, where the queries are other images, ``data_dir/queries.csv``; columns ``path``
(below ``data_dir``; paths of queries below ``queries_dir``, if set), ``label``, and optionally all of ``x1,y1,x2,y2``,
pixels of the whole photo, empty for the whole photo.
"""

import math
from pathlib import Path, PurePath

from delg.common.errors import InputError
from delg.common.image_lists import read_labelled
from delg.common.text_files import columns
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.labels import PROTOCOL, by_label
from extraction.formats.official import check_name
from extraction.images import Crop, ImageRef, named

DATABASE, QUERIES = "database.csv", "queries.csv"
BOX = ("x1", "y1", "x2", "y2")


def csv_lists(data_dir: str, queries_dir: str | None = None) -> Benchmark:
    """A benchmark of labelled lists; the images of the query's label are right, under the single protocol "all".

    A query that is itself a file of the database is junk for itself.

    Args:
      data_dir: the folder of the lists and of the images.
      queries_dir: folder that the paths of ``queries.csv`` are relative to; None for ``data_dir``.

    Returns:
      The benchmark; without ``queries.csv`` every database image is a query in turn.

    Raises:
      InputError: a list is missing or not of this form, or no query has a positive.
    """
    place = Path(data_dir)
    database, labels = _read(place / DATABASE, place)
    query_list = place / QUERIES
    if queries_dir and not query_list.is_file():
        raise InputError(f"The benchmark csv expects {query_list} where --queries_dir is given; it does not exist.")
    queries, query_labels = (
        _read(query_list, Path(queries_dir or data_dir)) if query_list.is_file() else (database, labels)
    )
    truths = by_label(queries, query_labels, database, labels)
    if not any(len(truth.positives) for truth in truths):
        raise InputError(
            f"No query has another image of its label in {place / DATABASE}; its labels are such as "
            f"{', '.join(sorted(set(labels))[:3])}. Received: {query_labels[0]}."
        )
    return Benchmark("csv", queries, database, {PROTOCOL: truths}, any_recall=True, own_photos=True)


def _read(path: Path, root: Path) -> tuple[list[ImageRef], list[str]]:
    """Images and labels of a list."""
    boxed = set(BOX) & set(columns(path))
    if boxed and boxed != set(BOX):
        raise InputError(f"{path} expects all of the columns {','.join(BOX)} or none. Received: {','.join(boxed)}")
    listed = read_labelled(path, root, lambda row, where: _crop([row[side] for side in BOX], where) if boxed else None)
    if not listed:
        raise InputError(f"{path} names no image.")
    whole = iter(named((PurePath(entry.path), root / entry.path) for entry in listed if entry.part is None))
    images = []
    for entry in listed:
        box = ",".join(map(str, entry.part or ()))
        images.append(
            ImageRef(f"{entry.path}@{box}", str(root / entry.path), entry.part) if entry.part else next(whole)
        )
        check_name(images[-1].name, entry.where)
    return images, [entry.label for entry in listed]


def _crop(texts: list[str], where: str) -> Crop | None:
    """A box; None where all four sides are empty."""
    if not any(text.strip() for text in texts):
        return None
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError as error:
        raise InputError(f"{where}: expected numbers x1,y1,x2,y2. Received: {','.join(texts)}") from error
    if not all(map(math.isfinite, (x1, y1, x2, y2))) or x1 >= x2 or y1 >= y2:
        raise InputError(f"{where}: expected a box with x1 < x2 and y1 < y2. Received: {','.join(texts)}")
    return x1, y1, x2, y2
