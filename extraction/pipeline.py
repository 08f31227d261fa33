"""Image list -> feature store: decoding runs ahead in threads, shards are written as they fill."""

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from os import PathLike
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features
from extraction.images import BadImageError, ImageRef, load_image
from extraction.store import FeatureStore
from extraction.store_writer import StoreWriter
from protos.errors import InputError
from protos.progress import progress_bar

Loaded = tuple[NDArray[np.uint8], tuple[int, int], tuple[int, int]]


class Extractor(Protocol):
    """What describes one image.

    Attributes:
      settings: all that its features depend on, as JSON values; ``crop_rule`` among them decides how a crop is brought
        to whole pixels (see :func:`extraction.images.load_image`).
    """

    settings: dict[str, Any]

    def __call__(self, image: NDArray[np.uint8], name: str, resize_factor: float = 1.0) -> Features:
        """Describes ``(H, W, 3)`` uint8 RGB; keypoints in its pixels.

        ``resize_factor`` multiplies the size limits: for a crop, its longest side over that of the whole photo.
        """
        ...


def extract(
    extractor: Extractor,
    images: Sequence[ImageRef],
    store_dir: str | PathLike[str],
    *,
    progress: bool = True,
    num_threads: int = 2,
    local_dtype: str = "float32",
) -> FeatureStore:
    """Describes images and keeps the features in a store; continues where an earlier run stopped.

    A bad image is skipped and listed in the store with its reason. A finished store of the same settings and images
    is opened and returned.

    Args:
      extractor: what describes an image.
      images: in the order of the store; names are unique.
      store_dir: folder of the store.
      progress: show a line with images/s and the time left.
      num_threads: images described at once; the features do not depend on it.
      local_dtype: how local features lie on disk, one of :data:`extraction.storage.LOCAL_DTYPES`.

    Raises:
      InputError: no image, a name twice, none can be read, the folder cannot be written or holds another store.
    """
    if not images:
        raise InputError("Expected at least one image to extract features from; the list is empty.")
    if len({ref.name for ref in images}) < len(images):
        raise InputError("Expected image names that are unique; the list holds a name twice.")
    check_local_dtype(extractor, local_dtype)
    settings = extractor.settings | {"crop": any(ref.crop is not None for ref in images)}
    writer = StoreWriter(store_dir, settings, images, local_dtype=local_dtype)
    if writer.complete:
        if progress:
            print(f"{writer.folder}: features are already complete.", file=sys.stderr)
        return FeatureStore.open(writer.folder)
    shards = writer.missing()
    todo = [ref for shard in shards for ref in writer.shard_images(shard)]
    done = len(images) - len(todo)
    with (
        progress_bar(
            total=len(images),
            initial=done,
            unit="image",
            desc="/".join(writer.folder.parts[-2:]),
            disable=not progress,
        ) as bar,
        ThreadPoolExecutor(num_threads, thread_name_prefix="extract") as pool,
    ):
        described = _ahead(pool, extractor, todo, 2 * num_threads)
        for shard in shards:
            features, skipped = [], []
            for ref in writer.shard_images(shard):
                try:
                    features.append(next(described).result())
                except BadImageError as error:
                    skipped.append({"name": ref.name, "reason": str(error)})
                bar.update()
            writer.write(shard, features, skipped)
    return writer.finish()


def check_local_dtype(extractor: Extractor, local_dtype: str) -> None:
    """Checks that the local descriptors of an extractor can be stored so.

    Raises:
      InputError: their signs would be kept, which are all alike.
    """
    if local_dtype == "binary" and not getattr(extractor, "signed", True):
        raise InputError(
            f"local_dtype binary keeps the signs of local descriptors; those of {extractor.settings['extractor']} are "
            "never negative."
        )


def describe(extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None) -> Features:
    """Features of one image (or its crop), keypoints in pixels of the whole photo.

    Args:
      extractor: what describes it.
      ref: the image.
      loaded: what ``load_image`` gave, where it was called already.

    Raises:
      BadImageError: the image cannot be used.
    """
    rule = extractor.settings.get("crop_rule", "round")
    image, whole, offset = load_image(ref, rule) if loaded is None else loaded
    factor = max(image.shape[:2]) / max(whole)
    features = extractor(image, ref.name, resize_factor=factor)
    return replace(features, image_size=whole, keypoints=features.keypoints + np.array(offset, np.float32))


def _ahead(
    pool: ThreadPoolExecutor, extractor: Extractor, images: Sequence[ImageRef], window: int
) -> Iterator[Future[Features]]:
    """Features in order, at most ``window`` images ahead of the reader."""
    waiting = iter(images)
    running = deque(pool.submit(describe, extractor, ref) for ref in islice(waiting, window))
    while running:
        ready = running.popleft()
        running.extend(pool.submit(describe, extractor, ref) for ref in islice(waiting, 1))
        yield ready
