"""One image, or several of one size, to features: decode, crop, describe, check."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extraction.extractors.base import Extractor, Picture
from extraction.features import Features
from extraction.formats.checks import check_coordinates
from extraction.images import BadImageError, ImageRef, Reading, Size, load_shrunk

Loaded = tuple[NDArray[np.uint8], Size, Size]
Described = Features | BadImageError
"""The features of an image, or the reason why it has none."""


def describe(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> Features:
    """Features of one image (or its crop), keypoints in pixels of the whole photo.

    Args:
      extractor: describes the image.
      ref: the image.
      loaded: the result of ``load_image``, where it was called already.

    Raises:
      BadImageError: the image cannot be used.
      InputError: see :func:`extraction.formats.checks.check_coordinates`.
    """
    check_coordinates(extractor.settings)
    return _in_photo(*describe_crop(extractor, ref, loaded))


def describe_crop(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> tuple[Features, Size, Size]:
    """Features of one image or its crop, keypoints in pixels of the crop; see :func:`describe`.

    Returns:
      The features; ``(width, height)`` of the whole photo; ``(x, y)`` of the crop's top-left pixel in it.
    """
    picture, whole, offset = _picture(extractor, ref, loaded)
    return _checked(extractor(*picture)), whole, offset


def describe_together(extractor: Extractor, refs: Sequence[ImageRef]) -> list[Described]:
    """Features of images that the extractor resizes to one size, or why one cannot be used; see :func:`describe`.

    Args:
      extractor: describes the images.
      refs: the images.
    """
    described: list[Any] = [None] * len(refs)
    if len(refs) == 1 or not extractor.batched:
        for place, ref in enumerate(refs):
            try:
                described[place] = describe(extractor, ref)
            except BadImageError as error:
                described[place] = error
        return described
    check_coordinates(extractor.settings)
    loaded = []
    for place, ref in enumerate(refs):
        try:
            loaded.append((place, *_picture(extractor, ref)))
        except BadImageError as error:
            described[place] = error
    pictures = [picture for _, picture, _, _ in loaded]
    batches = [pictures] if _of_one_size(extractor, pictures) else [[picture] for picture in pictures]
    results = [one for batch in batches if batch for one in _together(extractor, batch)]
    for (place, _, whole, offset), result in zip(loaded, results, strict=True):
        try:
            if isinstance(result, BadImageError):
                raise result
            described[place] = _in_photo(_checked(result), whole, offset)
        except BadImageError as error:
            described[place] = error
    return described


def _together(extractor: Extractor, pictures: Sequence[Picture]) -> list[Described]:
    """Features of a batch; where one picture of the batch cannot be described, each is tried alone."""
    try:
        return [*extractor.together(pictures)]
    except BadImageError as error:
        if len(pictures) == 1:
            return [error]
        return [result for picture in pictures for result in _together(extractor, [picture])]


def _of_one_size(extractor: Extractor, pictures: Sequence[Picture]) -> bool:
    """Whether the extractor resizes pictures to one size, which the headers of their files may state wrongly."""
    sizes = [one.size or (one.image.shape[1], one.image.shape[0]) for one in pictures]
    return len({extractor.base_size(size, one.resize_factor) for size, one in zip(sizes, pictures)}) == 1


def _picture(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> tuple[Picture, Size, Size]:
    """The extractor's arguments for an image; size of the photo; top-left pixel of the crop."""
    if loaded is None:
        image, whole, offset, size = load_shrunk(ref, Reading.of(extractor.settings), extractor.base_size)
    else:
        image, whole, offset = loaded
        size = image.shape[1], image.shape[0]
    before = None if image.shape[1::-1] == size else size
    return Picture(image, ref.name, max(size) / max(whole), before), whole, offset


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
