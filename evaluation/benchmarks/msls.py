"""Mapillary Street-level Sequences in the layout of its archives: for each city CSV files with keys and positions.

Layout: ``train_val/CITY`` (or ``test/CITY``, or ``CITY``) with ``query`` and ``database``, each with
``images/KEY.jpg``, ``postprocessed.csv`` (key, easting, northing, ...), ``raw.csv`` (key, pano, ...) and
``subtask_index.csv`` (key, all, s2w, ...).

Source: `mapillary_sls/datasets/msls.py` of the released code, image to image: panoramas are left out, images of the
query's city within 25 m are right, and queries without a right image are not scored.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from delg.common import text_files
from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.vpr import RADIUS, by_place, check_radius
from extraction.images import ImageRef

VALIDATION = "cph,sf"
SUBTASKS = ("all", "s2w", "w2s", "o2n", "n2o", "d2n", "n2d")
FOLDERS = ("train_val", "test", "")
APART = 1e9  # metres between two cities, whose coordinates count from different UTM zones
TRUTH = {"true": True, "1": True, "false": False, "0": False}


def msls(
    data_dir: str,
    queries_dir: str | None = None,
    *,
    cities: str = VALIDATION,
    subtask: str = "all",
    radius: float = RADIUS,
    labelled: bool = True,
    name: str = "msls",
    count_queries_without_positives: bool = False,
) -> Benchmark:
    """The benchmark of one or more cities, searched together.

    Args:
      data_dir: the folder of the unpacked archives.
      queries_dir: refused, because the layout has its own query folders.
      cities: names separated by commas; the cities of the validation set by default.
      subtask: ``all``, or one of the changes: ``s2w`` (summer to winter), ``w2s``, ``o2n`` (old to new), ``n2o``,
        ``d2n`` (day to night), ``n2d``.
      radius: in metres; images at exactly this distance are right.
      labelled: whether positions are known; False for the test cities.
      name: name of the benchmark in the report.
      count_queries_without_positives: whether they count as failures in R@k.

    Returns:
      The benchmark: one protocol, R@1, 5, 10, 20 and mAP@k.

    Raises:
      InputError: a city or a file is missing, a file lacks a column, or no query has a positive.
    """
    if queries_dir:
        raise InputError("--queries_dir cannot be combined with msls: each city has its queries in query/.")
    if subtask not in SUBTASKS:
        raise InputError(f"Unknown subtask {subtask!r} of msls; the choices are {', '.join(SUBTASKS)}.")
    if not isinstance(cities, str) or not all(city.strip() for city in cities.split(",")):
        raise InputError(f"msls expects cities in quotes with commas between. Received: {cities!r}")
    if not isinstance(name, str):
        raise InputError(f"msls expects a name in quotes. Received: {name!r}")
    check_radius("msls", radius)
    city_names = list(dict.fromkeys(city.strip() for city in cities.split(",")))
    images: dict[str, list[ImageRef]] = {"query": [], "database": []}
    positions: dict[str, list[tuple[float, float, float]]] = {"query": [], "database": []}
    for number, city in enumerate(city_names):
        folder = _folder(Path(data_dir), city)
        for role, role_images in images.items():
            for key, place in _subtask_images(folder / role, subtask, labelled).items():
                path = folder / role / "images" / f"{key}.jpg"
                role_images.append(ImageRef(f"{city}/{role}/images/{key}", str(path)))
                positions[role].append((*place, number * APART))
    for role, role_images in images.items():
        if not role_images:
            raise InputError(f"The cities {cities} of {data_dir} have no {role} image of the subtask {subtask}.")
    places = np.array(positions["query"]), np.array(positions["database"])
    return by_place(
        name,
        images["query"],
        images["database"],
        places if labelled else None,
        radius=radius,
        where=data_dir,
        count=count_queries_without_positives,
    )


def _folder(root: Path, city: str) -> Path:
    """The folder of a city."""
    folder = next((root / part / city for part in FOLDERS if (root / part / city / "query").is_dir()), None)
    if folder is None:
        raise InputError(f"{root} holds no folder {city} with query and database, nor in train_val or test.")
    return folder


def _subtask_images(folder: Path, subtask: str, labelled: bool) -> dict[str, tuple[float, float]]:
    """Keys and positions of the images of a subtask without panoramas, in the order of the files."""
    keys = set(_marked(folder / "subtask_index.csv", subtask))
    raw = folder / "raw.csv"
    panoramas = set(_marked(raw, "pano")) if labelled or raw.is_file() else set()
    if not labelled:
        return {key: (0.0, 0.0) for key in _keys(folder / "subtask_index.csv") if key in keys - panoramas}
    places = {}
    for where, row in text_files.rows(folder / "postprocessed.csv", ("key", "easting", "northing")):
        try:
            place = float(row["easting"]), float(row["northing"])
        except ValueError:
            place = np.nan, np.nan
        if not np.isfinite(place).all():
            raise InputError(f"{where}: expected easting and northing in metres.")
        if row["key"] in keys - panoramas:
            places[row["key"]] = place
    return places


def _keys(path: Path) -> Iterable[str]:
    """Image keys of a file."""
    return (row["key"] for _, row in text_files.rows(path, ("key",)))


def _marked(path: Path, column: str) -> Iterable[str]:
    """Keys of the rows whose value in a column is true."""
    for where, row in text_files.rows(path, ("key", column)):
        value = TRUTH.get(row[column].strip().lower())
        if value is None:
            raise InputError(f"{where}: expected True or False in the column {column}. Received: {row[column]}")
        if value:
            yield row["key"]
