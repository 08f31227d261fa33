"""The base class of extractors, which describe images, and the base class of extractors that wrap another one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features
from extraction.images import Size
from extraction.pca import Projections

HEADS = ("global", "local")


class Picture(NamedTuple):
    """The arguments of an extractor for one image, see :class:`Extractor`.

    Attributes:
      image: ``(H, W, 3)`` uint8 RGB.
      name: of the image.
      resize_factor: multiplies the size limits.
      size: ``(width, height)`` before the image was shrunk; None where it was not.
    """

    image: NDArray[np.uint8]
    name: str
    resize_factor: float = 1.0
    size: Size | None = None


class Extractor(ABC):
    """Describes images. A subclass sets ``settings`` and writes ``__call__``; the other members have defaults.

    Attributes:
      settings: everything that the features depend on, as JSON values, see
        :func:`extraction.settings.common_settings`; a feature store records them. ``exif``, ``truncated``,
        ``crop_rule`` and ``crop_border`` decide how image files are read, see
        :meth:`extraction.images.Reading.of`.
      heads: ``"global"``, ``"local"`` or both: which features images get. May be set to one of several; the extractor
        then may skip the work for the other.
      pca: projections of the descriptors, see :meth:`project`; None where the extractor cannot project.
      dimensions: values of a global and of a local descriptor before any projection, by head, as far as known.
      signed: whether entries of local descriptors have both signs, so that their signs can be stored alone.
      local_dtype: how a store holds local descriptors unless the user says otherwise, one of
        :data:`extraction.store.encoding.LOCAL_DTYPES`.
      matching: arguments of the reranker ``ransac`` that suit the local features, as JSON values; a store records them,
        and rerankers of the user's own photos take them. Empty for the released values.
      batched: whether :meth:`together` is faster than one picture after the other, so that it pays to gather images
        of one size.
    """

    settings: dict[str, Any]
    heads: tuple[str, ...] = HEADS
    pca: Projections | None = None
    dimensions: Mapping[str, int] = {}
    signed: bool = True
    local_dtype: str = "float32"
    matching: Mapping[str, Any] = {}
    batched: bool = False

    @abstractmethod
    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes one image; called from several threads at once.

        Args:
          image: ``(H, W, 3)`` uint8 RGB.
          name: of the image.
          resize_factor: multiplies the size limits: of a crop, its longest side over that of the whole photo.
          size: ``(width, height)`` of the image before it was shrunk to :meth:`base_size`; None where it was not.

        Returns:
          The features, keypoints in pixels of the image before it was shrunk.

        Raises:
          BadImageError: the image cannot be described; the message is the reason.
        """

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` that the extractor resizes an image to first; by default the image's own size.

        A very large image is shrunk to that size while it is decoded.
        """
        return size

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures that have one :meth:`base_size`; by default one after the other.

        Raises:
          BadImageError: a picture cannot be described; the caller then describes each alone.
        """
        return [self(*picture) for picture in pictures]

    def share_cores(self, threads: int) -> None:  # noqa: B027
        """Receives the number of threads that are going to call the extractor at once; does nothing by default."""

    def makers(self) -> tuple[Any, ...]:
        """What the features' source hash covers, see :func:`extraction.settings.recorded_settings`."""
        return (self,)

    def parts_of_heads(self) -> Mapping[str, "Extractor"]:
        """By head, extractors that together do the work of this one, so that one head may be described later.

        Empty, as by default, where the heads share work.
        """
        return {}

    def project(self, projections: Projections) -> None:
        """Projects descriptors from now on, and records that in the settings.

        Earlier projections remain, except of the descriptors that are projected anew.

        Raises:
          InputError: the extractor cannot project, or its descriptors have another dimension.
        """
        if not projections.settings:
            return
        if self.pca is None:
            raise InputError(f"The extractor {self.settings.get('extractor')!r} takes no PCA; a model does.")
        given = {head: pca for head, pca in vars(projections).items() if pca is not None}
        for name, pca in given.items():
            head = name.removeprefix("of_")
            dimension = self.dimensions.get(head, len(pca.mean))
            if dimension != len(pca.mean):
                raise InputError(
                    f"The PCA of {head} descriptors expects {len(pca.mean)} values; the model's have {dimension}."
                )
        self.pca = replace(self.pca, **given)
        self.settings = self.settings | projections.settings


class Wrapper(Extractor):
    """An extractor that forwards everything to another one; a subclass overrides what it changes.

    Attributes:
      extractor: the other one.
    """

    def __init__(self, extractor: Extractor, **settings: Any):
        """Wraps an extractor.

        Args:
          extractor: the other one.
          **settings: recorded besides its settings.
        """
        self.extractor = extractor
        self.settings = extractor.settings | settings
        self.signed, self.local_dtype, self.matching = extractor.signed, extractor.local_dtype, extractor.matching
        self.batched, self.dimensions = extractor.batched, extractor.dimensions

    def changed(self, features: Features) -> Features:
        """The features of an image as this extractor gives them."""
        return features

    def __call__(
        self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0, size: Size | None = None
    ) -> Features:
        """Describes one image, see :meth:`Extractor.__call__`."""
        return self.changed(self.extractor(image, name, resize_factor, size))

    def together(self, pictures: Sequence[Picture]) -> list[Features]:
        """Describes pictures that have one size at scale 1."""
        return [self.changed(features) for features in self.extractor.together(pictures)]

    @property
    def heads(self) -> tuple[str, ...]:
        """Which features images get."""
        return self.extractor.heads

    @heads.setter
    def heads(self, heads: tuple[str, ...]) -> None:
        self.extractor.heads = heads

    @property
    def pca(self) -> Projections | None:
        """Projections of the descriptors."""
        return self.extractor.pca

    @pca.setter
    def pca(self, projections: Projections | None) -> None:
        self.extractor.pca = projections

    def base_size(self, size: Size, resize_factor: float = 1.0) -> Size:
        """``(width, height)`` that the extractor resizes an image to first."""
        return self.extractor.base_size(size, resize_factor)

    def share_cores(self, threads: int) -> None:
        """Receives the number of threads that are going to call the extractor at once."""
        self.extractor.share_cores(threads)

    def parts_of_heads(self) -> Mapping[str, Extractor]:
        """Empty: this extractor may change what both heads give."""
        return {}

    def makers(self) -> tuple[Any, ...]:
        """Both extractors."""
        return (self, *self.extractor.makers())


class HeadSelection(Wrapper):
    """An extractor that gives only the global descriptor, or only the local features, of another one."""

    def __init__(self, extractor: Extractor, heads: tuple[str, ...]):
        """Wraps an extractor.

        Args:
          extractor: describes the images; skips the other head where it can.
          heads: ``("global",)`` or ``("local",)``.
        """
        extractor.heads = heads
        super().__init__(extractor, use_local_features="local" in heads, use_global_features="global" in heads)

    def changed(self, features: Features) -> Features:
        """The features of the selected head."""
        if "local" not in self.heads:
            return Features(features.name, features.image_size, features.global_descriptor)
        return replace(features, global_descriptor=np.zeros(0, np.float32))


def select_heads(extractor: Extractor, heads: tuple[str, ...]) -> Extractor:
    """The extractor itself where all heads are wanted, otherwise one that gives the wanted head only.

    Raises:
      InputError: the extractor lacks a wanted head.
    """
    missing = [head for head in heads if head not in extractor.heads]
    if missing:
        name, given = extractor.settings.get("extractor"), " and ".join(extractor.heads)
        raise InputError(
            f"{' and '.join(missing)} features are asked for, but the extractor {name!r} gives {given} features only."
        )
    return extractor if heads == extractor.heads else HeadSelection(extractor, heads)
