"""Features as HDF5 in the layout of hloc, and helpers of all HDF5 layouts."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from delg.common.errors import InputError, first_line
from delg.common.files import atomic_path
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSink, FeatureSource
from extraction.formats.checks import recorded, wrong

HLOC_LOCAL, HLOC_GLOBAL = HLOC_FILES = "local.h5", "global.h5"
KEYS = ("image_size", "keypoints", "descriptors", "scores", "scales", "global_descriptor")
UNIT = 0.01  # of a norm, in half precision


@contextmanager
def new_file(path: Path, source: FeatureSource) -> Iterator[Any]:
    """A new file with the settings as an attribute."""
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["settings"] = json.dumps(source.settings)
        file.attrs["skipped"] = json.dumps(source.skipped)
        yield file


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file for reading.

    Raises:
      InputError: the file cannot be read, or lacks a part that the caller uses.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5 of this layout: {first_line(error)}") from error


def record_in(file: Any, kind: str) -> dict[str, Any]:
    """``settings`` and ``skipped`` of a file, as :func:`new_file` wrote them; defaults for files of others."""
    document = {key: json.loads(file.attrs[key]) for key in ("settings", "skipped") if key in file.attrs}
    record = recorded(document, Path(file.filename), kind)
    return {key: record[key] for key in ("settings", "skipped")}


class HlocSink(FeatureSink):
    """Writes ``local.h5`` and ``global.h5``, a group an image, called by its path, or else by its name.

    Local: ``keypoints`` ``(N, 2)`` ``(x, y)``, the top-left pixel's centre at 0; ``descriptors`` ``(d, N)``; ``scores``
    and ``scales`` ``(N,)``; ``image_size`` ``(2,)`` ``(width, height)``. Global: ``global_descriptor`` ``(D,)``. A
    group that is called by the path has the image's name as its attribute ``name``.
    """

    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes both files.

        Raises:
          InputError: two images have one path, or one lies where another keeps its features; nothing is written then.
        """
        groups, width = _groups(source), source.local_width()
        with new_file(folder / HLOC_LOCAL, source) as local, new_file(folder / HLOC_GLOBAL, source) as vectors:
            for i, one in enumerate(self.images(source, folder)):
                group, vector = local.create_group(groups[i]), vectors.create_group(groups[i])
                if source.path_of(i):
                    group.attrs["name"] = vector.attrs["name"] = one.name
                group["image_size"] = np.array(one.image_size)
                group["keypoints"] = one.keypoints
                group["descriptors"] = one.descriptors.T if len(one) else np.zeros((width, 0), np.float32)
                group["scores"], group["scales"] = one.scores, one.scales
                vector["global_descriptor"] = one.global_descriptor


def _groups(source: FeatureSource) -> list[str]:
    """The group of each image."""
    groups = [source.path_of(i) or name for i, name in enumerate(source.names)]
    pathless = sum(not source.path_of(i) for i in range(len(groups)))
    if pathless:
        print(
            f"The paths of {pathless} of {len(groups)} images are not known; hloc finds these by their names alone.",
            file=sys.stderr,
        )
    name_of: dict[tuple[str, ...], str] = {}
    for path, name in zip(groups, source.names):
        parts = PurePosixPath("/", path).parts[1:]
        if "." in path.split("/") or not parts:
            raise InputError(f"The image {name!r} cannot be a group of HDF5: its path is {path!r}.")
        first = name_of.setdefault(parts, name)
        if first != name:
            raise InputError(f"The images {first!r} and {name!r} have one path, {path!r}; HDF5 needs one for each.")
    for parts, name in name_of.items():
        for end in range(1, len(parts)):
            if parts[:end] in name_of and parts[end] in KEYS:
                raise InputError(
                    f"The image {name!r} lies where HDF5 keeps the {parts[end]} of {name_of[parts[:end]]!r}; expected "
                    "paths with suffixes, which delg-extract records."
                )
    return groups


class HlocFiles(FeatureSource):
    """Features of ``local.h5`` and ``global.h5``, or of one of them."""

    def __init__(self, folder: Path):
        """Looks for the images.

        Raises:
          InputError: a file is damaged, or holds no group with features; the two are of different images, or one holds
            descriptors of both layouts.
        """
        self._files = {name: folder / name for name in HLOC_FILES if (folder / name).is_file()}
        self._transposed = self._local = False
        self._pathless: set[str] = set()  # groups that we named by the image, as its path was not known
        record: dict[str, Any] = {"settings": {}}
        names: list[dict[str, str]] = []
        for file_name, path in self._files.items():
            with opened(path) as file:
                record = record_in(file, "hloc")
                groups = _groups_with(file, "keypoints" if file_name == HLOC_LOCAL else "global_descriptor")
                names.append({group: str(file[group].attrs.get("name", group)) for group in groups})
                own = "settings" in file.attrs
                self._pathless |= {group for group in groups if own and "name" not in file[group].attrs}
                if file_name == HLOC_LOCAL:
                    self._transposed = _transposed(file, path, groups)
                    self._local = any(file[group]["keypoints"].size for group in groups)
        if not any(names):
            raise InputError(f"{folder} holds no image with features in {' or '.join(HLOC_FILES)}.")
        first, last = names[0], names[-1]
        if first != last:
            one = next(group for group in {**first, **last} if first.get(group) != last.get(group))
            raise InputError(
                f"{folder}: {' and '.join(HLOC_FILES)} hold different images, such as {one!r} in one only."
            )
        super().__init__(folder, list(first.values()), **record)
        self._groups = list(first)
        if self._transposed:
            self.notes = [f"{folder / HLOC_LOCAL} holds descriptors as (N, d) and not as hloc's (d, N); read so."]

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder holds ``local.h5`` or ``global.h5``."""
        return any((place / name).is_file() for name in HLOC_FILES)

    def path_of(self, i: int) -> str:
        """The group of the image, which hloc calls by the path."""
        return "" if self._groups[i] in self._pathless else self._groups[i]

    def local_files(self) -> list[Path]:
        """``local.h5``."""
        return [self._files[HLOC_LOCAL]] if self._local else []

    @cached_property
    def global_descriptors(self) -> Floats:
        """``(N, D)`` float32, read without the local features."""
        vectors = np.zeros((len(self), 0), np.float32)
        if HLOC_GLOBAL in self._files:
            with opened(self._files[HLOC_GLOBAL]) as file:
                rows = [np.asarray(file[group]["global_descriptor"], np.float32) for group in self._groups]
            if len({row.shape for row in rows}) > 1:
                raise InputError(f"{self._files[HLOC_GLOBAL]} holds global descriptors of different lengths.")
            vectors = np.array(rows).reshape(len(rows), -1)
        return vectors

    def read(self, i: int) -> Features:
        """All features of image ``i``."""
        import h5py

        name, parts = self.names[i], {}
        size = 0, 0
        for path in self._files.values():
            with opened(path) as file:
                group = file[self._groups[i]]
                there = {key: group[key] for key in KEYS if key in group}
                values = {key: np.asarray(array) for key, array in there.items() if isinstance(array, h5py.Dataset)}
            for key, array in values.items():
                if array.dtype.kind not in "fiu":
                    raise wrong(path, name, f"its {key} are no numbers but {array.dtype}")
            if "global_descriptor" in values:
                parts["global_descriptor"] = values["global_descriptor"].astype(np.float32)
            if "keypoints" in values:
                try:
                    parts |= _local(values, self._transposed)
                except ValueError as error:
                    raise wrong(path, name, str(error)) from error
                sides = values.get("image_size", np.zeros(2))
                if sides.shape != (2,) or not np.isfinite(sides).all():
                    raise wrong(path, name, f"its image_size is {sides.tolist()}; expected a width and a height")
                size = int(sides[0]), int(sides[1])
        return Features(name=name, image_size=size, **parts)


def _groups_with(file: Any, key: str) -> list[str]:
    """The groups that hold a dataset of a name."""
    import h5py

    groups: list[str] = []

    def visit(item: str, value: Any) -> None:
        if item.endswith(f"/{key}") and isinstance(value, h5py.Dataset):
            groups.append(item.removesuffix(f"/{key}"))

    file.visititems(visit)
    return groups


def _transposed(file: Any, path: Path, groups: Sequence[str]) -> bool:
    """Whether descriptors are ``(N, d)`` throughout, unlike those of hloc.

    The layout is that of images where only one axis is as long as the number of keypoints. Where no image decides, the
    norms of the first square descriptors do; otherwise the layout is hloc's.
    """
    import h5py

    groups_of: dict[bool, str] = {}  # first group of each layout
    square = None
    for group in groups:
        points: tuple[int, ...] = file[group]["keypoints"].shape
        there = file[group].get("descriptors")
        descriptors: tuple[int, ...] = there.shape if isinstance(there, h5py.Dataset) else ()
        if len(points) != 2 or len(descriptors) != 2 or not points[0] or points[0] not in descriptors:
            continue  # reported when it is read
        if descriptors[0] == descriptors[1]:
            square = square or group
        else:
            groups_of.setdefault(descriptors[0] == points[0], group)
    if len(groups_of) > 1:
        raise InputError(
            f"{path} holds descriptors (d, N) of the image {groups_of[False]!r} and (N, d) of "
            f"{groups_of[True]!r}; expected one layout."
        )
    if groups_of or square is None:
        return True in groups_of
    lengths = [np.linalg.norm(np.asarray(file[square]["descriptors"], np.float64), axis=axis) for axis in (0, 1)]
    columns, rows = (bool(np.abs(length - 1).max() < UNIT) for length in lengths)
    return rows and not columns


def _local(values: dict[str, Any], transposed: bool) -> dict[str, Any]:
    """Local features of a group, by decreasing score; absent scores and scales are ones.

    Raises:
      ValueError: the arrays do not fit together; the message is the reason.
    """
    points, descriptors = values["keypoints"], values.get("descriptors")
    if points.size == 0:
        points = np.zeros((0, 2), np.float32)
    n = len(points)
    if points.shape != (n, 2):
        raise ValueError(f"its keypoints have the shape {points.shape}; expected (N, 2)")
    if descriptors is None:
        raise ValueError(f"it has {n} keypoints and no descriptors")
    if not n and descriptors.size == 0:
        descriptors = np.zeros((0, 0), np.float32)
    shape, rows = descriptors.shape, descriptors if transposed else descriptors.T
    if rows.ndim != 2 or len(rows) != n:
        raise ValueError(
            f"its descriptors have the shape {shape}; expected ({'N, d' if transposed else 'd, N'}) of {n}"
        )
    numbers = {}
    for key in ("scores", "scales"):
        given = np.asarray(values.get(key, np.ones(n)), np.float32)
        if given.size != n or max(given.shape, default=0) != n:
            raise ValueError(f"its {key} have the shape {given.shape}; expected ({n},), as it has {n} keypoints")
        numbers[key] = given.ravel()
    order = np.argsort(-numbers["scores"], kind="stable")
    return {
        "keypoints": points.astype(np.float32)[order],
        "descriptors": np.ascontiguousarray(rows.astype(np.float32)[order]),
        "scores": numbers["scores"][order],
        "scales": numbers["scales"][order],
    }
