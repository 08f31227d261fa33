"""Features as HDF5, as hloc lays them out, and what all layouts of HDF5 share."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.common.errors import InputError, first_line
from delg.common.files import atomic_path
from delg.common.progress import progress_bar
from extraction.features import Features
from extraction.formats.checks import local_width, recorded, wrong

if TYPE_CHECKING:
    from extraction.formats.table import Source

HLOC_LOCAL, HLOC_GLOBAL = "local.h5", "global.h5"
KEYS = ("image_size", "keypoints", "descriptors", "scores", "scales", "global_descriptor")
UNIT = 0.01  # of a norm, in half precision


@contextmanager
def new_file(path: Path, source: "Source") -> Iterator[Any]:
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
      InputError: it cannot be read, or what is done with it fails for want of a part.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} cannot be read as HDF5 of this layout: {first_line(error)}") from error


def told(file: Any, kind: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Settings and skipped images, where we wrote the file."""
    document = {key: json.loads(file.attrs[key]) for key in ("settings", "skipped") if key in file.attrs}
    found = recorded(document, Path(file.filename), kind)
    return found["settings"], found["skipped"]


def write_hloc(source: "Source", folder: Path) -> None:
    """``local.h5`` and ``global.h5``, a group an image, called by its path; by its name where that is not known.

    Local: ``keypoints`` ``(N, 2)`` ``(x, y)``, the top-left pixel's centre at 0; ``descriptors`` ``(d, N)``; ``scores``
    and ``scales`` ``(N,)``; ``image_size`` ``(2,)`` ``(width, height)``. Global: ``global_descriptor`` ``(D,)``. The
    attribute ``name`` of a group is the image's name, and tells that the group is called by the path.

    Raises:
      InputError: two images have one path, or one lies where another keeps its features; nothing is written then.
    """
    groups, width = _groups(source), local_width(source)
    with new_file(folder / HLOC_LOCAL, source) as local, new_file(folder / HLOC_GLOBAL, source) as vectors:
        for i, path in enumerate(progress_bar(groups, desc=folder.name, unit="image")):
            found = source.features(i)
            group, vector = local.create_group(path), vectors.create_group(path)
            if source.path_of(i):
                group.attrs["name"] = vector.attrs["name"] = found.name
            group["image_size"] = np.array(found.image_size)
            group["keypoints"] = found.keypoints
            group["descriptors"] = found.descriptors.T if len(found) else np.zeros((width, 0), np.float32)
            group["scores"], group["scales"] = found.scores, found.scales
            vector["global_descriptor"] = found.global_descriptor


def _groups(source: "Source") -> list[str]:
    """The group of each image."""
    groups = [source.path_of(i) or name for i, name in enumerate(source.names)]
    unknown = sum(not source.path_of(i) for i in range(len(groups)))
    if unknown:
        print(
            f"The paths of {unknown} of {len(groups)} images are not known; hloc finds these by their names alone.",
            file=sys.stderr,
        )
    known: dict[tuple[str, ...], str] = {}
    for path, name in zip(groups, source.names):
        parts = PurePosixPath("/", path).parts[1:]
        if "." in path.split("/") or not parts:
            raise InputError(f"The image {name!r} cannot be a group of HDF5: its path is {path!r}.")
        first = known.setdefault(parts, name)
        if first != name:
            raise InputError(f"The images {first!r} and {name!r} have one path, {path!r}; HDF5 needs one for each.")
    for parts, name in known.items():
        for end in range(1, len(parts)):
            if parts[:end] in known and parts[end] in KEYS:
                raise InputError(
                    f"The image {name!r} lies where HDF5 keeps the {parts[end]} of {known[parts[:end]]!r}; expected "
                    "paths with suffixes, which delg-extract records."
                )
    return groups


class HlocFiles:
    """Features of ``local.h5`` and ``global.h5``, or of one of them; an image at a time.

    Attributes:
      names: of the images.
      settings: where we wrote the files, how the features were made.
      skipped: the same.
    """

    files = (HLOC_LOCAL, HLOC_GLOBAL)

    def __init__(self, folder: Path):
        """Looks for the images.

        Raises:
          InputError: a file is damaged, or holds no group with features; the two are of different images, or one holds
            descriptors of both layouts.
        """
        self._files = {name: folder / name for name in self.files if (folder / name).is_file()}
        self.notes: list[str] = []
        self._transposed = False
        self._unknown: set[str] = set()  # groups that we called by a name, for want of a path
        found: list[dict[str, str]] = []
        for file_name, path in self._files.items():
            with opened(path) as file:
                self.settings, self.skipped = told(file, "hloc")
                groups = _groups_with(file, "keypoints" if file_name == HLOC_LOCAL else "global_descriptor")
                found.append({group: str(file[group].attrs.get("name", group)) for group in groups})
                own = "settings" in file.attrs
                self._unknown |= {group for group in groups if own and "name" not in file[group].attrs}
                if file_name == HLOC_LOCAL:
                    self._transposed = _transposed(file, path, groups)
        if self._transposed:
            self.notes = [f"{folder / HLOC_LOCAL} holds descriptors as (N, d) and not as hloc's (d, N); read so."]
        if not any(found):
            raise InputError(f"{folder} holds no image with features in {' or '.join(self.files)}.")
        self._groups = list(found[0])
        self.names = list(found[0].values())
        if found[0] != found[-1]:
            one = next(group for group in {**found[0], **found[-1]} if found[0].get(group) != found[-1].get(group))
            raise InputError(
                f"{folder}: {' and '.join(self.files)} hold different images, such as {one!r} in one only."
            )

    def path_of(self, i: int) -> str:
        """The group of the image, which others call by the path; see :class:`extraction.formats.table.Source`."""
        return "" if self._groups[i] in self._unknown else self._groups[i]

    def features(self, i: int) -> Features:
        """All features of one image; see :class:`extraction.formats.table.Source`."""
        name, parts = self.names[i], {}
        size = 0, 0
        for path in self._files.values():
            with opened(path) as file:
                group = file[self._groups[i]]
                values = {key: np.asarray(group[key]) for key in KEYS if key in group and hasattr(group[key], "shape")}
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
    found: list[str] = []

    def visit(item: str, value: Any) -> None:
        if item.endswith(f"/{key}") and hasattr(value, "shape"):
            found.append(item.removesuffix(f"/{key}"))

    file.visititems(visit)
    return found


def _transposed(file: Any, path: Path, groups: Sequence[str]) -> bool:
    """Whether descriptors are ``(N, d)`` throughout, as a file of hloc never holds them.

    An image tells where one axis alone is as long as it has keypoints. Where none tells, the norms of the first square
    ones do, or else the layout is hloc's.
    """
    telling: dict[bool, str] = {}
    square = None
    for group in groups:
        points: tuple[int, ...] = file[group]["keypoints"].shape
        descriptors: tuple[int, ...] = getattr(file[group].get("descriptors"), "shape", ())
        if len(points) != 2 or len(descriptors) != 2 or not points[0] or points[0] not in descriptors:
            continue  # told when it is read
        if descriptors[0] == descriptors[1]:
            square = square or group
        else:
            telling.setdefault(descriptors[0] == points[0], group)
    if len(telling) > 1:
        raise InputError(
            f"{path} holds descriptors (d, N) of the image {telling[False]!r} and (N, d) of "
            f"{telling[True]!r}; expected one layout."
        )
    if telling or square is None:
        return True in telling
    lengths = [np.linalg.norm(np.asarray(file[square]["descriptors"], np.float64), axis=axis) for axis in (0, 1)]
    columns, rows = (bool(np.abs(length - 1).max() < UNIT) for length in lengths)
    return rows and not columns


def _local(values: dict[str, Any], transposed: bool) -> dict[str, Any]:
    """Local features of a group, by decreasing score; ones where scores or scales are absent.

    Raises:
      ValueError: what is wrong with them.
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
