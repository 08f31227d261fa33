"""INSTRE (Wang and Jiang, 2015) in the split of Iscen et al. (arXiv 1611.05113): 1,250 queries, 27,293 images.

Layout, as released: ``data_dir/gnd_instre.mat`` and the folders ``INSTRE-S1``, ``INSTRE-S2``, ``INSTRE-M`` of its
image names. Boxes of the file are corners ``x1, y1, x2, y2``, unlike the boxes in INSTRE's own text files.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.image_lists import spelled
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.groundtruth import Box, box, indices, names_of, read_mat
from evaluation.metrics.truth import Truth
from extraction.images import ImageRef

PROTOCOL, FILE, SETS = "all", "gnd_instre.mat", ("ok", "junk")


def instre(data_dir: str, crop: bool = True) -> Benchmark:
    """The benchmark in ``data_dir``: average precision with trapezoids over all positives, a single protocol.

    Args:
      data_dir: the folder of the ground truth and of the images.
      crop: whether queries are cut to their boxes; some published values use whole query photos.

    Returns:
      The benchmark.

    Raises:
      InputError: the ground truth is missing or wrong.
    """
    path = Path(data_dir) / FILE
    data = read_mat(path, SETS)
    stripped = {key: [str(name).strip() for name in data[key]] for key in ("imlist", "qimlist")}
    database, names = names_of(data | stripped, str(path))
    queries, truths = [], []
    for name, entry in zip(names, data["gnd"]):
        where = f"{path}: query {name!r}"
        if not isinstance(entry, Mapping) or "ok" not in entry:
            raise InputError(f"{where} expects the set ok.")
        positives, junk = (indices(entry.get(key, ()), len(database), f"{where}, {key},") for key in SETS)
        truths.append(Truth(np.unique(positives), np.unique(junk)))
        cut = box(entry.get("bbx"), where) if crop else None
        queries.append(_image(data_dir, name, cut))
    images = [_image(data_dir, name) for name in database]
    return Benchmark("instre", queries, images, {PROTOCOL: truths}, truth=path)


def _image(folder: str, name: str, crop: Box | None = None) -> ImageRef:
    """The image with this path below the folder."""
    place = os.fspath(Path(folder) / spelled(folder, name))
    return ImageRef(os.path.splitext(name)[0], place, crop and (crop.x1, crop.y1, crop.x2, crop.y2))  # noqa: PTH122
