"""Visual place recognition: Pitts30k, Tokyo 24/7, MSLS validation, and all sets whose file names hold UTM coordinates.

Layout, that of the VPR tools: ``data_dir/database`` and ``data_dir/queries`` (or ``--queries_dir``, ``data_dir`` then
being the database), files named ``@UTM_EAST@UTM_NORTH@...@.jpg`` in folders of any depth. Right are the database images
within 25 m; one that is the query's own file is junk.

With ``vpr(labelled=False)`` the names need no coordinates: nothing is scored, what counts is the file of predictions
(the MSLS challenge).
"""

import math
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.labels import own_files
from evaluation.benchmarks.protocols import Truth
from extraction.images import ImageRef, list_images

PROTOCOL, KS = "all", (1, 5, 10, 20)
RADIUS = 25.0  # metres, arXiv 1511.07247, section 5.1
SIDES = 4  # radii of the squares that are drawn for intervals
KEY = 7  # place of the image's own key among the parts of a name


def vpr(
    data_dir: str, queries_dir: str | None = None, radius: float = RADIUS, labelled: bool = True, name: str = "vpr"
) -> Benchmark:
    """A benchmark whose right answers are the photos taken near the query.

    Args:
      data_dir: the folder of ``database`` and ``queries``; with ``queries_dir`` that of the database alone.
      queries_dir: the queries.
      radius: in metres; images at this distance are right, too.
      labelled: whether the positions of the queries are known.
      name: what it is called in the report, such as ``"pitts30k"``.

    Returns:
      The benchmark: one protocol, R@1, 5, 10, 20.

    Raises:
      InputError: a folder is missing, a name holds no coordinates, or no query has a positive.
    """
    if not isinstance(name, str):
        raise InputError(f"vpr expects a name in quotes. Received: {name!r}")
    if not (isinstance(radius, int | float) and not isinstance(radius, bool) and math.isfinite(radius) and radius > 0):
        raise InputError(f"vpr expects a radius above 0. Received: {radius}")
    place = Path(data_dir)
    database = list_images(place if queries_dir else place / "database")
    queries = list_images(queries_dir or place / "queries")
    nothing, squares = np.zeros(0, np.int64), None
    if labelled:
        places = _positions(queries)
        squares = np.unique(np.floor(places / (SIDES * radius)), axis=0, return_inverse=True)[1].ravel()
        near = cKDTree(_positions(database)).query_ball_point(places, radius)
        own = own_files(queries, database)
        truths = [Truth(np.setdiff1d(np.array(rows, np.int64), junk), junk) for rows, junk in zip(near, own)]
        if not any(len(truth.positives) for truth in truths):
            raise InputError(
                f"No query of {queries_dir or place / 'queries'} was taken within {radius:g} m of the database."
            )
    else:
        truths = [Truth(nothing, nothing) for _ in queries]
    protocols, side = {PROTOCOL: truths}, SIDES * radius
    return Benchmark(name, queries, database, protocols, any_recall=True, ks=KS, squares=squares, side=side)


def position(image: str) -> tuple[float, float] | None:
    """UTM east and north, in metres, of a file's name; None where it holds none.

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
    """The key by which the MSLS evaluation knows an image: the seventh part of a name with UTM, else the file's stem.

    >>> image_key("queries/@1@2@17@T@3@4@mNIAGzNvVvqtZRJVZ5TWtA@@0@@@@201502@@")
    'mNIAGzNvVvqtZRJVZ5TWtA'
    """
    stem = PurePosixPath(image).name
    parts = stem.split("@")
    return parts[KEY] if position(image) and len(parts) > KEY and parts[KEY] else stem


def _positions(images: list[ImageRef]) -> NDArray[np.float64]:
    """``(N, 2)`` metres."""
    found = [position(image.name) for image in images]
    for image, place in zip(images, found):
        if place is None:
            raise InputError(f"vpr expects names such as @UTM_EAST@UTM_NORTH@...@.jpg. Received: {image.path}")
    return np.array(found, np.float64)
