"""Visual place recognition: Pitts30k, Tokyo 24/7, MSLS validation, and all sets whose file names hold UTM coordinates.

Layout of the VPR tools: ``data_dir/database`` and ``data_dir/queries`` (or ``--queries_dir``; ``data_dir`` is then the
database), files named ``@UTM_EAST@UTM_NORTH@...@.jpg`` in folders of any depth. Database images within 25 m are right;
the query's own file is junk.

With ``vpr(labelled=False)`` names need no coordinates: nothing is scored, and the output is the file of predictions
(the MSLS challenge).
"""

import math
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.labels import own_files
from evaluation.metrics.truth import Truth
from extraction.images import ImageRef, list_images

PROTOCOL, KS = "all", (1, 5, 10, 20)
RADIUS = 25.0  # metres, arXiv 1511.07247, section 5.1
CELL = 4  # side of the spatial cells that the bootstrap draws, in radii
Positions = NDArray[np.float64]
KEY = 7  # place of the image's key among the parts of a name


def vpr(
    data_dir: str,
    queries_dir: str | None = None,
    *,
    radius: float = RADIUS,
    labelled: bool = True,
    name: str = "vpr",
    count_queries_without_positives: bool = False,
) -> Benchmark:
    """A benchmark whose right answers are the photos taken near the query.

    Args:
      data_dir: the folder of ``database`` and ``queries``; with ``queries_dir`` the folder of the database.
      queries_dir: the folder of the queries.
      radius: in metres; images at exactly this distance are right.
      labelled: whether the positions of the queries are known.
      name: name of the benchmark in the report, such as ``"pitts30k"``.
      count_queries_without_positives: whether they count as failures in R@k.

    Returns:
      The benchmark: one protocol, R@1, 5, 10, 20, and mAP@k.

    Raises:
      InputError: a folder is missing, a name holds no coordinates, or no query has a positive.
    """
    if not isinstance(name, str):
        raise InputError(f"vpr expects a name in quotes. Received: {name!r}")
    check_radius("vpr", radius)
    place = Path(data_dir)
    database = list_images(place if queries_dir else place / "database")
    queries = list_images(queries_dir or place / "queries")
    where = str(queries_dir or place / "queries")
    positions = (_positions(queries), _positions(database)) if labelled else None
    return by_place(
        name, queries, database, positions, radius=radius, where=where, count=count_queries_without_positives
    )


def check_radius(benchmark: str, radius: Any) -> None:
    """Raises InputError where a radius is not a number above 0."""
    if not (isinstance(radius, int | float) and not isinstance(radius, bool) and math.isfinite(radius) and radius > 0):
        raise InputError(f"{benchmark} expects a radius above 0. Received: {radius}")


def by_place(
    name: str,
    queries: list[ImageRef],
    database: list[ImageRef],
    positions: tuple[Positions, Positions] | None,
    *,
    radius: float,
    where: str,
    count: bool,
) -> Benchmark:
    """A benchmark whose right answers are near the query; the query's own file is junk.

    Args:
      name: name of the benchmark in the report.
      queries: query images.
      database: database images.
      positions: positions of the queries ``(Q, d)`` and of the database ``(N, d)``, in metres; None if unknown.
      radius: in metres; images at exactly this distance are right.
      where: the folder of the queries, for the message.
      count: whether queries without positives count in R@k, as failures.

    Raises:
      InputError: no query has a positive.
    """
    if type(count) is not bool:
        raise InputError(f"count_queries_without_positives expects True or False. Received: {count!r}")
    nothing, cells = np.zeros(0, np.int64), None
    if positions is None:
        truths = [Truth(nothing, nothing) for _ in queries]
    else:
        query_positions, database_positions = positions
        cells = np.unique(np.floor(query_positions / (CELL * radius)), axis=0, return_inverse=True)[1].ravel()
        near = cKDTree(database_positions).query_ball_point(query_positions, radius)
        junk_rows = own_files(queries, database)
        truths = [Truth(np.setdiff1d(np.array(rows, np.int64), junk), junk) for rows, junk in zip(near, junk_rows)]
        if not any(len(truth.positives) for truth in truths):
            raise InputError(f"No query of {where} was taken within {radius:g} m of the database.")
    return Benchmark(
        name,
        queries,
        database,
        {PROTOCOL: truths},
        any_recall=True,
        count_all=count,
        cut_map=True,
        ks=KS,
        cells=cells,
        cell_size=CELL * radius,
    )


def position(image: str) -> tuple[float, float] | None:
    """UTM east and north, in metres, of a file's name; None for a name without coordinates.

    >>> position("test/database/@0584200.10@4477432.49@17@T@040.44@-080.00@key@@@@@@@@")
    (584200.1, 4477432.49)
    """
    parts = PurePosixPath(image).name.split("@")
    try:
        east, north = float(parts[1]), float(parts[2])
    except (IndexError, ValueError):
        return None
    return (east, north) if math.isfinite(east) and math.isfinite(north) else None


def image_key(image: str) -> str:
    """The key of an image in the MSLS evaluation: the seventh part of a name with UTM, else the file's stem.

    >>> image_key("queries/@1@2@17@T@3@4@mNIAGzNvVvqtZRJVZ5TWtA@@0@@@@201502@@")
    'mNIAGzNvVvqtZRJVZ5TWtA'
    """
    stem = PurePosixPath(image).name
    parts = stem.split("@")
    return parts[KEY] if position(image) and len(parts) > KEY and parts[KEY] else stem


def _positions(images: list[ImageRef]) -> Positions:
    """``(N, 2)`` UTM east and north of the images, in metres."""
    positions = [position(image.name) for image in images]
    for image, place in zip(images, positions):
        if place is None:
            raise InputError(f"vpr expects names such as @UTM_EAST@UTM_NORTH@...@.jpg. Received: {image.path}")
    return np.array(positions, np.float64)
