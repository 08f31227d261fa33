"""One image, or several of one size, to features: decoded, cropped, described, checked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features
from extraction.images import BadImageError, ImageRef, Reading, Size, load_shrunk

Loaded = tuple[NDArray[np.uint8], Size, Size]
Found = Features | BadImageError


class Extractor(Protocol):
    """What describes one image.

    Attributes:
      settings: all that its features depend on, as JSON values; ``exif``, ``truncated``, ``crop_rule`` and
        ``crop_border`` among them decide how an image is read (see :meth:`extraction.images.Reading.of`).

    An extractor may have further methods:

    - ``base_size(size, resize_factor)``, the size that it brings an image to first. A very large image is then shrunk
      to that as it is decoded, and the extractor told the ``size`` that it had.
    - ``together(pictures)``, the features of several :class:`Picture` of one such size.
    - ``share_cores(threads)``, told how many threads are going to call it at the same time.
    """

    settings: dict[str, Any]

    def __call__(self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; keypoints in its pixels.

        ``resize_factor`` multiplies the size limits: for a crop, its longest side over that of the whole photo.
        """
        ...


class Picture(NamedTuple):
    """What an extractor is given of an image: its arguments, see :class:`Extractor`.

    Attributes:
      image: ``(H, W, 3)`` uint8 RGB.
      name: of the image.
      resize_factor: see there.
      size: ``(width, height)`` before it was shrunk; None where it was not.
    """

    image: NDArray[np.uint8]
    name: str
    resize_factor: float = 1.0
    size: Size | None = None


def check_coordinates(settings: dict[str, Any]) -> None:
    """Proves that keypoints are in pixels of the photo, as all but official files hold them.

    Args:
      settings: of the extractor.

    Raises:
      InputError: they are in pixels of the resized image.
    """
    if settings.get("use_resized_coordinates"):
        raise InputError(
            "use_resized_coordinates is for official files alone: a feature store, a search and a match need keypoints "
            "in pixels of the photo."
        )


def describe(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> Features:
    """Features of one image (or its crop), keypoints in pixels of the whole photo.

    Args:
      extractor: what describes it.
      ref: the image.
      loaded: what ``load_image`` gave, where it was called already.

    Raises:
      BadImageError: the image cannot be used.
      InputError: see :func:`check_coordinates`.
    """
    check_coordinates(extractor.settings)
    return _in_photo(*describe_crop(extractor, ref, loaded))


def describe_crop(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> tuple[Features, Size, Size]:
    """Features of one image or its crop, keypoints in pixels of the crop; see :func:`describe`.

    Returns:
      The features; ``(width, height)`` of the whole photo; ``(x, y)`` of the crop's top-left pixel in it.
    """
    picture, whole, offset = _picture(extractor, ref, loaded)
    told: dict[str, Any] = {} if picture.size is None else {"size": picture.size}
    return _checked(extractor(picture.image, picture.name, resize_factor=picture.resize_factor, **told)), whole, offset


def describe_together(extractor: Any, refs: Sequence[ImageRef]) -> list[Found]:
    """Features of images that the extractor brings to one size, or why one cannot be used; see :func:`describe`.

    Args:
      extractor: an :class:`Extractor` that has ``together``, if it is more than one image.
      refs: the images.
    """
    if len(refs) == 1:
        try:
            return [describe(extractor, refs[0])]
        except BadImageError as error:
            return [error]
    found: list[Any] = [None] * len(refs)
    loaded = []
    for place, ref in enumerate(refs):
        try:
            loaded.append((place, *_picture(extractor, ref)))
        except BadImageError as error:
            found[place] = error
    pictures = [picture for _, picture, _, _ in loaded]
    described = extractor.together(pictures) if _of_one_size(extractor, pictures) else _apart(extractor, pictures)
    for (place, _, whole, offset), features in zip(loaded, described, strict=True):
        try:
            found[place] = _in_photo(_checked(features), whole, offset)
        except BadImageError as error:
            found[place] = error
    return found


def _of_one_size(extractor: Any, pictures: Sequence[Picture]) -> bool:
    """Whether the extractor brings pictures to one size, which the heads of their files need not tell rightly."""
    sizes = [one.size or (one.image.shape[1], one.image.shape[0]) for one in pictures]
    return len({extractor.base_size(size, one.resize_factor) for size, one in zip(sizes, pictures)}) == 1


def _apart(extractor: Any, pictures: Sequence[Picture]) -> list[Features]:
    """The features of pictures, each described for itself."""
    return [features for one in pictures for features in extractor.together([one])]


def _picture(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> tuple[Picture, Size, Size]:
    """What the extractor gets of an image; size of the photo; top-left pixel of the crop."""
    if loaded is None:
        reading = Reading.of(extractor.settings)
        image, whole, offset, size = load_shrunk(ref, reading, getattr(extractor, "base_size", None))
    else:
        image, whole, offset = loaded
        size = image.shape[1], image.shape[0]
    told = None if image.shape[1::-1] == size else size
    return Picture(image, ref.name, max(size) / max(whole), told), whole, offset


def _in_photo(features: Features, whole: Size, offset: Size) -> Features:
    """The features of a crop with keypoints in pixels of the photo."""
    return replace(features, image_size=whole, keypoints=features.keypoints + np.array(offset, np.float32))


def _checked(features: Features) -> Features:
    """The features; raises BadImageError where descriptors could not be compared with any."""
    vector = features.global_descriptor
    if not (np.isfinite(vector).all() and np.isfinite(features.descriptors).all()):
        raise BadImageError("its descriptors are not finite")
    if vector.size and not vector.any():
        raise BadImageError("its global descriptor is zero")
    return features
