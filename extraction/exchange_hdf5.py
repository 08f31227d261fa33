"""Features as HDF5, as hloc and as AMES (ELViS, LOCORE) lay them out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extraction.features import Features
from protos.errors import InputError
from protos.files import atomic_path
from protos.progress import progress_bar

if TYPE_CHECKING:
    from extraction.exchange import Source

HLOC_LOCAL, HLOC_GLOBAL = "local.h5", "global.h5"
AMES_LOCAL, AMES_GLOBAL = "local.hdf5", "global.npy"
AMES_COLUMNS = 5  # x, y, number of the scale, mask, weight; the descriptor follows


@contextmanager
def _new(path: Path, source: "Source") -> Iterator[Any]:
    """A new file with the settings as an attribute."""
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["settings"] = json.dumps(source.settings)
        file.attrs["skipped"] = json.dumps(source.skipped)
        yield file


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as HDF5 of this layout: {error}") from error


def _told(file: Any, kind: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Settings and skipped images, where we wrote the file."""
    settings = json.loads(file.attrs.get("settings", json.dumps({"extractor": f"unknown, {kind} files"})))
    return settings, json.loads(file.attrs.get("skipped", "[]"))


def write_hloc(source: "Source", folder: Path) -> None:
    """``local.h5`` and ``global.h5``, a group an image.

    Local: ``keypoints`` ``(N, 2)`` ``(x, y)``, the top-left pixel's centre at 0; ``descriptors`` ``(d, N)``; ``scores``
    and ``scales`` ``(N,)``; ``image_size`` ``(2,)`` ``(width, height)``. Global: ``global_descriptor`` ``(D,)``.
    """
    with _new(folder / HLOC_LOCAL, source) as local, _new(folder / HLOC_GLOBAL, source) as vectors:
        for i in progress_bar(range(len(source.names)), desc=folder.name, unit="image"):
            found = source.features(i)
            group = local.create_group(found.name)
            group["image_size"] = np.array(found.image_size)
            group["keypoints"], group["descriptors"] = found.keypoints, found.descriptors.T
            group["scores"], group["scales"] = found.scores, found.scales
            vectors.create_group(found.name)["global_descriptor"] = found.global_descriptor


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
          InputError: a file is damaged, or holds no group with features.
        """
        self._paths = {name: folder / name for name in self.files if (folder / name).is_file()}
        found: dict[str, None] = {}
        for name, path in self._paths.items():
            with _opened(path) as file:
                self.settings, self.skipped = _told(file, "hloc")
                items: list[str] = []
                file.visit(items.append)
            key = "/keypoints" if name == HLOC_LOCAL else "/global_descriptor"
            found |= dict.fromkeys(item.removesuffix(key) for item in items if item.endswith(key))
        self.names = list(found)
        if not self.names:
            raise InputError(f"{folder} holds no image with features in {' or '.join(self.files)}.")

    def features(self, i: int) -> Features:
        """All features of one image; see :class:`extraction.exchange.Source`."""
        name, parts = self.names[i], {}
        size = 0, 0
        for path in self._paths.values():
            with _opened(path) as file:
                group = file.get(name, {})
                values = {key: np.asarray(group[key]) for key in group}
            if "global_descriptor" in values:
                parts["global_descriptor"] = values["global_descriptor"].astype(np.float32)
            if "keypoints" in values:
                parts |= _local(values)
                width, height = values.get("image_size", (0, 0))
                size = int(width), int(height)
        return Features(name=name, image_size=size, **parts)


def _local(values: dict[str, Any]) -> dict[str, Any]:
    """Local features of a group, by decreasing score; ones where scores or scales are absent."""
    ones = np.ones(len(values["keypoints"]), np.float32)
    scores, scales = (np.asarray(values.get(key, ones), np.float32).ravel() for key in ("scores", "scales"))
    order = np.argsort(-scores, kind="stable")
    return {
        "keypoints": values["keypoints"].astype(np.float32)[order],
        "descriptors": np.ascontiguousarray(values["descriptors"].T.astype(np.float32)[order]),
        "scores": scores[order],
        "scales": scales[order],
    }


def write_ames(source: "Source", folder: Path) -> None:
    """``local.hdf5`` with the dataset ``features`` ``(images, most features, 5 + d)`` float32, and ``global.npy``.

    A row is x, y, the number of its scale (the largest image first), the mask (1 where there is no feature), the
    attention and the descriptor. ``names``, ``sizes`` and ``scales`` are ours; AMES takes the order of its image list.
    """
    import h5py

    every = [source.features(i) for i in range(len(source.names))]
    longest, width = max(len(one) for one in every), max(one.descriptors.shape[1] for one in every)
    scales = np.unique(np.concatenate([one.scales for one in every]))
    with _new(folder / AMES_LOCAL, source) as file:
        file["names"] = np.array(source.names, h5py.string_dtype())
        file["sizes"], file["scales"] = np.array([one.image_size for one in every]), scales
        shape = (len(every), longest, AMES_COLUMNS + width)
        rows = file.create_dataset("features", shape, np.float32)
        for i, one in enumerate(progress_bar(every, desc=folder.name, unit="image")):
            block = np.zeros(shape[1:], np.float32)
            block[len(one) :, 3] = 1
            block[: len(one)] = np.column_stack(
                [one.keypoints, np.searchsorted(scales, one.scales), np.zeros(len(one)), one.scores, one.descriptors]
            )
            rows[i] = block
    with atomic_path(folder / AMES_GLOBAL) as temporary, temporary.open("wb") as output:
        np.save(output, np.array([one.global_descriptor for one in every]))


class AmesFile:
    """Features of such files; images are numbered, and scales are their numbers, where others wrote them.

    Attributes:
      names: of the images.
      settings: where we wrote the files, how the features were made.
      skipped: the same.
    """

    files = (AMES_LOCAL,)

    def __init__(self, folder: Path):
        """Opens the files.

        Raises:
          InputError: a file is damaged or of another layout.
        """
        self._path, vectors = folder / AMES_LOCAL, folder / AMES_GLOBAL
        with _opened(self._path) as file:
            count, _, width = file["features"].shape
            self.settings, self.skipped = _told(file, "AMES")
            self.names = list(file["names"].asstr()) if "names" in file else [f"{i:07d}" for i in range(count)]
            self._scales = np.asarray(file["scales"]) if "scales" in file else None
            self._sizes = np.asarray(file["sizes"]) if "sizes" in file else np.zeros((count, 2), np.int64)
        self._vectors = np.load(vectors) if vectors.is_file() else np.zeros((count, 0), np.float32)
        if width <= AMES_COLUMNS or len({len(self.names), len(self._vectors), len(self._sizes), count}) > 1:
            raise InputError(f"{self._path} and {vectors.name} do not fit together.")

    def features(self, i: int) -> Features:
        """All features of one image; see :class:`extraction.exchange.Source`."""
        with _opened(self._path) as file:
            rows = file["features"][i]
        rows = rows[rows[:, 3] == 0]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        numbers = rows[:, 2]
        return Features(
            name=self.names[i],
            image_size=(int(self._sizes[i][0]), int(self._sizes[i][1])),
            global_descriptor=self._vectors[i].astype(np.float32),
            keypoints=rows[:, :2],
            descriptors=rows[:, AMES_COLUMNS:],
            scores=rows[:, 4],
            scales=numbers if self._scales is None else self._scales[numbers.astype(int)],
        )
