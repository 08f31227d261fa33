"""Features in the layout of AMES, ELViS and LOCORE: one HDF5 file of local features, global descriptors beside it.

The files of these programs, by their repositories: ``DESC_SPLIT_local.hdf5`` with the dataset
``features``, ``(images, most features, 5 + d)`` floats, or records of ``metadata`` and ``descriptor``, the latter also
as packed signs; ``DESC_SPLIT_global.pt``, bare float32 (AMES, LOCORE), or ``DESC_SPLIT_global.hdf5`` (ELViS); and
the images in the order of ``test_SPLIT.txt``, a path a line, other columns after it. A ``.pt`` file that ``torch.save``
wrote is read, too.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import atomic_path
from delg.common.text_files import read_lines
from delg.common.torch_file import is_torch_file, read_torch
from delg.common.torch_pickle import Tensor
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import wrong
from extraction.formats.hdf5 import new_file, opened, record_in
from extraction.formats.official import check_name
from extraction.store.encoding import unit

LOCAL, GLOBAL = "local.hdf5", "global.pt"
ENDING = "_local.hdf5"  # of the files of these programs
COLUMNS = 5  # x, y, number of the scale, mask, weight; the descriptor follows
NUMBERS = "fiu"  # kinds of dtypes


class AmesSink(FeatureSink):
    """Writes ``local.hdf5`` with ``features`` ``(images, most features, 5 + d)`` float32, and ``global.pt``.

    A row is x, y in pixels, the number of its scale (the largest image first), the mask (1 where there is no feature),
    the attention and the descriptor. ``global.pt`` is the ``(images, D)`` float32 without a header. ``names``,
    ``paths``, ``sizes`` and ``scales`` are ours; these programs take the order of their image list.
    """

    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes both files; no more than two images are in memory at once."""
        import h5py

        longest, width, scales, sizes = 0, 0, np.zeros(0, np.float32), []
        for i in range(len(source)):
            one = source.features(i)
            longest, width = max(longest, len(one)), one.descriptors.shape[1] if len(one) else width
            scales = np.union1d(scales, one.scales)
            sizes.append(one.image_size)
        with new_file(folder / LOCAL, source) as file, atomic_path(folder / GLOBAL) as temporary:
            file["names"] = np.array(source.names, h5py.string_dtype())
            file["paths"] = np.array([source.path_of(i) for i in range(len(sizes))], h5py.string_dtype())
            file["sizes"], file["scales"] = np.array(sizes), scales
            shape = (len(sizes), longest, COLUMNS + width)
            rows = file.create_dataset("features", shape, np.float32)
            with temporary.open("wb") as vectors:
                for i, one in enumerate(self.images(source, folder)):
                    n, block = len(one), np.zeros(shape[1:], np.float32)
                    block[n:, 3] = 1
                    if n:
                        numbers = np.searchsorted(scales, one.scales)
                        block[:n] = np.column_stack([one.keypoints, numbers, np.zeros(n), one.scores, one.descriptors])
                    rows[i] = block
                    vectors.write(one.global_descriptor.astype("<f4").tobytes())


class AmesFile(FeatureSource):
    """Features of such files.

    In files of these programs, images are named by ``test_SPLIT.txt`` beside the file, without suffix and without a
    common folder ``jpg``, or else numbered; scales are numbered from 1, and positions are usually fractions of the
    sides of the photo.
    """

    def __init__(self, place: Path):
        """Opens the files.

        Args:
          place: a folder that we wrote, or a file ``DESC_SPLIT_local.hdf5``.

        Raises:
          InputError: a file is damaged or of another layout.
        """
        self._path = place / LOCAL if place.is_dir() else place
        if not self._path.name.endswith(ENDING) and not place.is_dir():
            raise InputError(f"Expected a folder or a file NAME{ENDING}. Received: {place}")
        with opened(self._path) as file:
            count, self._records, well_formed = _layout(file)
            record = record_in(file, "AMES")
            names, paths = _own_names(file, count) if "names" in file else _listed(self._path, count)
            self._scales = _numbers(file["scales"]).ravel() if "scales" in file else None
            self._sizes = _numbers(file["sizes"]) if "sizes" in file else np.zeros((count, 2), np.int64)
            self._local = well_formed and file["features"].shape[1] > 0
        vectors = _vectors(self._path, count)
        counts = {len(names), len(paths), len(vectors), len(self._sizes), count}
        if not well_formed or len(counts) > 1 or self._sizes.shape != (count, 2) or vectors.ndim != 2:
            raise InputError(
                f"{self._path} expects (images, features, {COLUMNS} + d), as many names and as many global descriptors."
            )
        super().__init__(place, names, **record, paths=dict(zip(names, paths)))
        self.global_descriptors = vectors

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder holds ``local.hdf5``; a single file can be of no other format."""
        return place.is_file() or (place / LOCAL).is_file()

    def local_files(self) -> list[Path]:
        """The file of the local features."""
        return [self._path] if self._local else []

    def read(self, i: int) -> Features:
        """All features of image ``i``."""
        with opened(self._path) as file:
            rows = file["features"][i]
            columns, descriptors = (
                (rows["metadata"], rows["descriptor"]) if self._records else (rows[:, :COLUMNS], rows[:, COLUMNS:])
            )
        columns = columns.astype(np.float32)
        if not np.isin(columns[:, 3], (0, 1)).all():
            raise wrong(self._path, self.names[i], "its mask, column 3, holds other values than 0 and 1")
        present = np.flatnonzero(columns[:, 3] == 0)
        order = present[np.argsort(-columns[present, 4], kind="stable")]
        return Features(
            name=self.names[i],
            image_size=(int(self._sizes[i][0]), int(self._sizes[i][1])),
            global_descriptor=self.global_descriptors[i].astype(np.float32),
            keypoints=columns[order, :2],
            descriptors=_unit(descriptors[order]),
            scores=columns[order, 4],
            scales=self._scale(columns[order, 2], i),
        )

    def _scale(self, numbers: Floats, i: int) -> Floats:
        """The scales of an image by their numbers."""
        if self._scales is None:
            return numbers + 1
        if not (np.isin(numbers, np.arange(len(self._scales)))).all():
            raise wrong(self._path, self.names[i], f"its numbers of scales, column 2, go beyond {len(self._scales)}")
        return self._scales[numbers.astype(int)].astype(np.float32)


def _layout(file: Any) -> tuple[int, bool, bool]:
    """Number of images, whether the features are records, and whether they have one of the two layouts."""
    features = file["features"]
    names = features.dtype.names
    if names is None:
        wide = features.ndim == 3 and (features.shape[2] > COLUMNS or features.shape[1:] == (0, COLUMNS))
        return len(features), False, wide and features.dtype.kind in NUMBERS
    parts = [features.dtype[name] for name in ("metadata", "descriptor") if name in names]
    formed = features.ndim == 2 and len(parts) == 2 and parts[0].shape == (COLUMNS,) and len(parts[1].shape) == 1
    return len(features), True, formed and all(part.base.kind in NUMBERS for part in parts)


def _own_names(file: Any, count: int) -> tuple[list[str], list[str]]:
    """Names and paths of the images in a file that we wrote."""
    names = list(file["names"].asstr())
    return names, list(file["paths"].asstr()) if "paths" in file else [""] * count


def _numbers(dataset: Any) -> NDArray[Any]:
    """A dataset of finite numbers; raises ValueError for other values."""
    values = np.asarray(dataset)
    if values.dtype.kind not in NUMBERS or not np.isfinite(values).all():
        raise ValueError(f"{dataset.name} holds no finite numbers")
    return values


def _unit(descriptors: NDArray[Any]) -> Floats:
    """Rows of unit norm, of floats or of packed signs."""
    if descriptors.dtype == np.uint8:
        descriptors = np.unpackbits(descriptors, axis=1) * 2.0 - 1.0
    return unit(descriptors.astype(np.float32))


def _listed(path: Path, count: int) -> tuple[list[str], list[str]]:
    """Names and paths of the images by the list of their split beside the file; numbers without a list."""
    split = path.name.removesuffix(ENDING).rpartition("_")[2]
    place = path.with_name(f"test_{split}.txt")
    if not place.is_file():
        return [f"{i:07d}" for i in range(count)], [""] * count
    lines = [line.partition(",")[0].rstrip() for _, line in read_lines(place)]
    names = [line.removesuffix(Path(line).suffix) for line in lines]
    if all(name.startswith("jpg/") for name in names):
        names, lines = ([name.removeprefix("jpg/") for name in some] for some in (names, lines))
    for name in names:
        check_name(name, str(place))
    if len(names) != count or len(set(names)) != count:
        raise InputError(f"{place} expects {count} different images, as {path.name} holds. Received: {len(names)}")
    return names, lines


def _vectors(local: Path, count: int) -> Floats:
    """``(count, D)`` the global descriptors beside a file of local features; ``D`` is 0 where there are none."""
    for ending in (GLOBAL, "global.hdf5", "cls.hdf5"):
        place = local.with_name(local.name.removesuffix(LOCAL) + ending)
        if not place.is_file():
            continue
        if place.suffix == ".hdf5":
            with opened(place) as file:
                return _numbers(file["features"]).astype(np.float32)
        if is_torch_file(place):
            return _of_torch(place, count)
        values = np.fromfile(place, "<f4")
        if not count or len(values) % count or place.stat().st_size % 4:
            raise InputError(f"{place} expects float32 values for {count} images. Received: {len(values)} values")
        return values.reshape(count, -1)
    return np.zeros((count, 0), np.float32)


def _of_torch(place: Path, count: int) -> Floats:
    """``(count, D)`` of a file that ``torch.save`` wrote."""
    content = read_torch(place)
    vectors = np.asarray(content.array()) if isinstance(content, Tensor) else np.zeros(0)
    if vectors.ndim != 2 or len(vectors) != count:
        raise InputError(f"{place} expects a tensor ({count}, D), a row an image. Received: {vectors.shape}")
    return vectors.astype(np.float32)
