"""Features as HDF5, as hloc lays them out, and what all layouts of HDF5 share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.common.errors import InputError
from delg.common.files import atomic_path
from delg.common.progress import progress_bar
from extraction.features import Features
from extraction.settings import UNKNOWN

if TYPE_CHECKING:
    from extraction.formats.table import Source

HLOC_LOCAL, HLOC_GLOBAL = "local.h5", "global.h5"


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
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as HDF5 of this layout: {error}") from error


def told(file: Any, kind: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Settings and skipped images, where we wrote the file."""
    settings = json.loads(file.attrs.get("settings", json.dumps({"extractor": f"{UNKNOWN}, {kind} files"})))
    return settings, json.loads(file.attrs.get("skipped", "[]"))


def write_hloc(source: "Source", folder: Path) -> None:
    """``local.h5`` and ``global.h5``, a group an image.

    Local: ``keypoints`` ``(N, 2)`` ``(x, y)``, the top-left pixel's centre at 0; ``descriptors`` ``(d, N)``; ``scores``
    and ``scales`` ``(N,)``; ``image_size`` ``(2,)`` ``(width, height)``. Global: ``global_descriptor`` ``(D,)``.
    """
    with new_file(folder / HLOC_LOCAL, source) as local, new_file(folder / HLOC_GLOBAL, source) as vectors:
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
            with opened(path) as file:
                self.settings, self.skipped = told(file, "hloc")
                items: list[str] = []
                file.visit(items.append)
            key = "/keypoints" if name == HLOC_LOCAL else "/global_descriptor"
            found |= dict.fromkeys(item.removesuffix(key) for item in items if item.endswith(key))
        self.names = list(found)
        if not self.names:
            raise InputError(f"{folder} holds no image with features in {' or '.join(self.files)}.")

    def features(self, i: int) -> Features:
        """All features of one image; see :class:`extraction.formats.table.Source`."""
        name, parts = self.names[i], {}
        size = 0, 0
        for path in self._paths.values():
            with opened(path) as file:
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
