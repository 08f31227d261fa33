"""The base classes of feature formats: a source reads the features of many images, and a sink writes them."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.sources import source_sha256
from extraction.features import Features, Floats
from extraction.formats.checks import check, check_settings, wrong


class FeatureSource(ABC):
    """Features of many images, read one image at a time, and checked as they are read.

    A subclass calls the constructor and writes :meth:`read`. All values are finite, scales are above 0, sizes are whole
    numbers, and all images have descriptors of one length. Several threads may read at once.

    Attributes:
      folder: the folder or file that holds the features.
      names: of the images; row ``i`` everywhere belongs to ``names[i]``.
      settings: how the features were made, as far as the files record it.
      skipped: ``{"name", "reason"}`` of each image without features.
      local_dtype: how local descriptors are stored, see :data:`extraction.store.encoding.LOCAL_DTYPES`.
      checked: whether values are checked as they are read; a store, whose writer got checked values, skips the checks
        for the speed of rerankers, unless it is verified or converted.
      notes: sentences about the files that the user should read.
    """

    local_dtype: str = "float32"
    checked: bool = True
    notes: Sequence[str] = ()

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        settings: dict[str, Any],
        skipped: Sequence[dict[str, str]] = (),
        paths: Mapping[str, str] | None = None,
    ):
        """Takes what the files record.

        Args:
          folder: the folder or file that holds the features.
          names: of the images.
          settings: how the features were made.
          skipped: ``{"name", "reason"}`` of each image without features.
          paths: of the image files by name, see :meth:`path_of`.
        """
        self.folder, self.names, self.settings, self.skipped = folder, list(names), settings, list(skipped)
        self._paths: Mapping[str, str] = paths or {}
        self._widths: dict[str, tuple[int, str]] = {}

    @classmethod
    def recognizes(cls, place: Path) -> bool:
        """Whether a folder or file holds features of this format; False where the format has to be named."""
        return False

    @classmethod
    def open(cls, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Self:
        """Opens features; by default the constructor gets the path. A subclass may add arguments with defaults.

        Args:
          path: of the folder or file.
          names: of the images that are wanted, for formats with a file an image, which then read no other files.

        Raises:
          InputError: there are no such features, or they are damaged.
        """
        return cls(Path(path))  # type: ignore[call-arg]

    @abstractmethod
    def read(self, i: int) -> Features:
        """All features of image ``i`` as the files hold them."""

    def features(self, i: int) -> Features:
        """All features of image ``i``.

        Raises:
          IndexError: ``i`` is outside ``0 .. len(self) - 1``.
          InputError: the features cannot be used; names the image.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"Image {i} of the features of {len(self)} images.")
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # checked below
                features = self.read(i)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise wrong(self.folder, self.names[i], f"its features do not fit together: {error}") from error
        if not self.checked:
            return features
        check(features, self.folder)
        widths = {"global_descriptor": len(features.global_descriptor)}
        widths |= {"descriptors": features.descriptors.shape[1]} if len(features) else {}
        for key, width in widths.items():
            first, name = self._widths.setdefault(key, (width, features.name))
            if width != first:
                raise wrong(self.folder, features.name, f"its {key} hold {width} values, those of {name!r} {first}")
        return features

    def path_of(self, i: int) -> str:
        """Path of image ``i`` below the folder that the names start in; empty where the files do not record it."""
        return self._paths.get(self.names[i], "")

    @cached_property
    def global_descriptors(self) -> Floats:
        """``(N, D)`` float32 global descriptors; ``D`` is 0 where images have none."""
        rows = [self.features(i).global_descriptor for i in range(len(self))]
        return np.array(rows, np.float32).reshape(len(rows), -1 if rows else 0)

    def local_files(self) -> list[Path]:
        """The files that hold local features; none where images have no local features."""
        return []

    @cached_property
    def local_bytes(self) -> int:
        """Bytes of local features on disk."""
        return sum(path.stat().st_size for path in self.local_files())

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens the same files."""
        return type(self).open, (self.folder, self.names)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Rows by name, made when one is asked for: of a million names that takes longer than all else of opening."""
        return {name: i for i, name in enumerate(self.names)}

    def index_of(self, name: str) -> int:
        """Row of an image.

        Raises:
          InputError: there are no features of an image of that name.
        """
        if name not in self._rows:
            raise InputError(f"{self.folder} has no image {name!r} (of its {len(self)} images).")
        return self._rows[name]

    def check_names(self) -> None:
        """Checks that there are images, and each name once.

        Raises:
          InputError: otherwise.
        """
        if not self.names:
            raise InputError(f"{self.folder} holds features of no image.")
        if len(self._rows) < len(self.names):
            twice = next(name for i, name in enumerate(self.names) if self._rows[name] != i)
            raise InputError(f"{self.folder} holds the image {twice!r} twice.")

    def local_width(self) -> int:
        """Values of a local descriptor; 0 where no image has local features."""
        widths = (one.descriptors.shape[1] for one in map(self.features, range(len(self))) if len(one))
        return next(widths, 0)

    def record(self) -> dict[str, Any]:
        """The record that other formats keep beside the features: ``settings``, ``skipped`` and known ``paths``."""
        paths = {name: self.path_of(i) for i, name in enumerate(self.names)}
        known = {name: path for name, path in paths.items() if path}
        return {"settings": self.settings, "skipped": self.skipped, "paths": known}

    def bytes_per_image(self) -> dict[str, float]:
        """Mean bytes of one image: ``global`` descriptor, and ``local`` features with their geometry."""
        images = max(len(self), 1)
        return {"global": self.global_descriptors.nbytes / images, "local": self.local_bytes / images}

    def identity(self) -> str:
        """Hexadecimal SHA-256 that changes with the settings, the names, the features and the code that reads them.

        Raises:
          InputError: the features are damaged.
        """
        return json_sha256([self.settings, self.names, self.feature_hashes(), source_sha256(type(self))])

    def feature_hashes(self) -> list[Any]:
        """JSON values that change with the features: hash of the global descriptors, size and time of local files."""
        matrix = hashlib.sha256(np.ascontiguousarray(self.global_descriptors).tobytes()).hexdigest()
        files = [path.stat() for path in self.local_files()]
        return [matrix, *([file.st_size, file.st_ctime_ns] for file in files)]

    def check_compatible(self, other: "FeatureSource") -> None:
        """Checks that two sources were made alike, so that their features may be compared.

        Raises:
          InputError: names each setting that differs, see :func:`extraction.formats.checks.differences`; or see
            :meth:`check_shapes`.
        """
        check_settings(self.settings, other.settings, f"The features in {self.folder} and {other.folder}")
        self.check_shapes(other)

    def check_shapes(self, other: "FeatureSource") -> None:
        """Checks that arithmetic between the features of two sources is possible, whatever they were made by.

        Raises:
          InputError: global descriptors differ in length, or only one source holds binary local descriptors.
        """
        stores = f"The features in {self.folder} and {other.folder} cannot be compared"
        lengths = [source.global_descriptors.shape[1] for source in (self, other) if len(source)]
        if len(set(lengths)) > 1:
            raise InputError(f"{stores}: their global descriptors have {lengths[0]} and {lengths[1]} values.")
        dtypes = self.local_dtype, other.local_dtype
        if dtypes.count("binary") == 1 and self.local_bytes and other.local_bytes:
            raise InputError(
                f"{stores}: their local descriptors are {' and '.join(dtypes)}; extract both with the same "
                "--local_dtype."
            )


class FeatureSink(ABC):
    """Writes features of many images in one format.

    Attributes:
      binary: whether the format holds binary local descriptors.
      continues: whether a folder that is not empty may be continued.
    """

    binary: bool = False
    continues: bool = False

    @abstractmethod
    def write(self, source: FeatureSource, folder: Path) -> None:
        """Writes all features of a source into an existing folder.

        Raises:
          InputError: the features cannot be written in this format, or are damaged; names the image.
        """

    def images(self, source: FeatureSource, folder: Path) -> Iterator[Features]:
        """The features of one image after the other, with a progress line."""
        from delg.common.progress import progress_bar  # only here: the commands' --help lists the formats

        return map(source.features, progress_bar(range(len(source)), desc=folder.name, unit="image"))
