"""What holds of features whatever file they are read from, and what the files record beside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from delg.common.errors import InputError
from extraction.features import Features
from extraction.settings import UNKNOWN

if TYPE_CHECKING:
    from extraction.formats.table import Source

ARRAYS = ("global_descriptor", "keypoints", "descriptors", "scores", "scales")


class Checked:
    """A source each of whose images is proved whole as it is read.

    All values are finite, scales above 0, sizes whole numbers; descriptors are of one width in all images, global ones
    and local ones. An image without local features goes with any.

    Attributes:
      names: of the images, each once.
      settings: how the features were made.
      skipped: ``{"name", "reason"}`` of images without features.
    """

    def __init__(self, source: "Source", place: Path):
        """Takes the source.

        Args:
          source: the features.
          place: where they lie, for messages.

        Raises:
          InputError: the source holds no image, or a name twice.
        """
        self.names, self.settings, self.skipped = list(source.names), source.settings, source.skipped
        self._source, self._place = source, place
        self._widths: dict[str, tuple[int, str]] = {}
        if not self.names:
            raise InputError(f"{place} holds features of no image.")
        if len(set(self.names)) < len(self.names):
            seen: set[str] = set()
            twice = next(name for name in self.names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise InputError(f"{place} holds the image {twice!r} twice.")

    def path_of(self, i: int) -> str:
        """Where the image lay below the folder that the names start in; empty where that is not known."""
        return self._source.path_of(i)

    def features(self, i: int) -> Features:
        """All features of one image.

        Raises:
          InputError: names the image, and what is wrong.
        """
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # told below
                found = self._source.features(i)
        except InputError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise wrong(self._place, self.names[i], f"its features do not fit together: {error}") from error
        check(found, self._place)
        widths = {"global_descriptor": len(found.global_descriptor)}
        widths |= {"descriptors": found.descriptors.shape[1]} if len(found) else {}
        for key, width in widths.items():
            first, name = self._widths.setdefault(key, (width, found.name))
            if width != first:
                raise wrong(self._place, found.name, f"its {key} hold {width} values, those of {name!r} {first}")
        return found


def check(features: Features, place: Path) -> None:
    """Proves that the values of an image can be used.

    Args:
      features: of the image.
      place: where they lie, for messages.

    Raises:
      InputError: values are not finite, a scale is not above 0, or a size is no whole number.
    """
    for key in ARRAYS:
        if not np.isfinite(getattr(features, key)).all():
            raise wrong(place, features.name, f"its {key} hold values that are not finite numbers")
    if len(features) and features.scales.min() <= 0:
        raise wrong(place, features.name, f"its scales hold {features.scales.min():g}; expected numbers above 0")
    if any(side < 0 or side != int(side) for side in features.image_size):
        raise wrong(place, features.name, f"its size is {features.image_size}; expected whole numbers")


def wrong(place: Path, name: str, what: str) -> InputError:
    """The sentence for an image whose features cannot be used."""
    return InputError(f"{place}: image {name!r}: {what}.")


def local_width(source: "Source") -> int:
    """Values of a local descriptor; 0 where no image has local features."""
    found = (source.features(i) for i in range(len(source.names)))
    return next((one.descriptors.shape[1] for one in found if len(one)), 0)


def known_paths(source: "Source") -> dict[str, str]:
    """Paths of images by their names, of those whose paths are known."""
    paths = {name: source.path_of(i) for i, name in enumerate(source.names)}
    return {name: path for name, path in paths.items() if path}


def record_of(source: "Source") -> dict[str, Any]:
    """What is recorded beside the features: ``settings``, ``skipped`` and ``paths``."""
    return {"settings": source.settings, "skipped": source.skipped, "paths": known_paths(source)}


def recorded(document: Any, place: Path, kind: str) -> dict[str, Any]:
    """The same as it was read; where a part is absent, as in the files of others, its value without a record.

    Args:
      document: what was read.
      place: the file, for messages.
      kind: of the files, in words.

    Raises:
      InputError: it has another form.
    """
    absent = {"settings": {"extractor": f"{UNKNOWN}, {kind} files"}, "skipped": [], "paths": {}}
    if not isinstance(document, dict):
        raise InputError(f"{place} is no record of features.")
    found = {key: document.get(key, value) for key, value in absent.items()}
    skipped = found["skipped"]
    formed = isinstance(found["settings"], dict) and isinstance(skipped, list) and isinstance(found["paths"], dict)
    if not formed or not all(isinstance(entry, dict) and {"name", "reason"} <= entry.keys() for entry in skipped):
        raise InputError(f"{place} is no record of features.")
    if not all(isinstance(path, str) for path in found["paths"].values()):
        raise InputError(f"{place} is no record of features.")
    return found
