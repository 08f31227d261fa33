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
from extraction.images import BadImageError, ImageRef, load_shrunk
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

    An extractor may have a method ``base_size(size, resize_factor)``, the size that it brings an image to first. A very
    large image is then shrunk to that as it is decoded, and the extractor told the ``size`` that it had.
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
    append: bool = False,
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
      append: add to a store the images whose names it does not hold.

    Raises:
      InputError: no image, a name twice, none can be read, the folder cannot be written or holds another store.
    """
    store = extract_share(
        extractor,
        images,
        store_dir,
        (0, 1),
        progress=progress,
        num_threads=num_threads,
        local_dtype=local_dtype,
        append=append,
    )
    assert store is not None  # nobody else has a share
    return store


def extract_share(
    extractor: Extractor,
    images: Sequence[ImageRef],
    store_dir: str | PathLike[str],
    share: tuple[int, int],
    *,
    progress: bool = True,
    num_threads: int = 2,
    local_dtype: str = "float32",
    append: bool = False,
) -> FeatureStore | None:
    """Does one of several equal shares of :func:`extract`, whose jobs write into one folder.

    Args:
      extractor: what describes an image.
      images: the whole list, the same in all jobs.
      store_dir: folder of the store, the same in all jobs.
      share: this job's number, from 0 on, and the number of jobs.
      progress: show a line with images/s and the time left.
      num_threads: images described at once.
      local_dtype: how local features lie on disk.
      append: add to a store the images whose names it does not hold.

    Returns:
      The store, by the job that finds all shares done; None by the others.

    Raises:
      InputError: as :func:`extract`, or the job's number is not below the number of jobs.
    """
    number, jobs = share
    if not 0 <= number < jobs:
        raise InputError(f"shard_index expects 0 to {jobs - 1} with num_shards {jobs}. Received: {number}")
    writer = begin(extractor, images, store_dir, local_dtype=local_dtype, append=append)
    if writer.complete:
        if progress:
            print(f"{writer.folder}: features are already complete.", file=sys.stderr)
        return FeatureStore.open(writer.folder)
    own = [shard for shard in writer.missing() if shard % jobs == number]
    write_shards(extractor, writer, own, progress=progress, num_threads=num_threads)
    return None if writer.missing() else writer.finish(alone=jobs == 1)


def begin(
    extractor: Extractor,
    images: Sequence[ImageRef],
    store_dir: str | PathLike[str],
    *,
    local_dtype: str = "float32",
    append: bool = False,
) -> StoreWriter:
    """Checks the arguments of :func:`extract` and makes the store's writer."""
    if not images:
        raise InputError("Expected at least one image to extract features from; the list is empty.")
    if len({ref.name for ref in images}) < len(images):
        raise InputError("Expected image names that are unique; the list holds a name twice.")
    check_local_dtype(extractor, local_dtype)
    settings = extractor.settings | {"crop": any(ref.crop is not None for ref in images)}
    return StoreWriter(store_dir, settings, images, local_dtype=local_dtype, append=append)


def write_shards(
    extractor: Extractor, writer: StoreWriter, shards: Sequence[int], *, progress: bool, num_threads: int
) -> None:
    """Describes the images of some shards, ahead of the writing in ``num_threads`` threads, and writes each shard.

    While one thread waits for the network, others decode and select; no more than ``2 * num_threads`` images are ahead.
    """
    todo = [ref for shard in shards for ref in writer.shard_images(shard)]
    options: dict[str, Any] = {"total": len(writer.images), "initial": len(writer.images) - len(todo), "unit": "image"}
    with (
        progress_bar(desc="/".join(writer.folder.parts[-2:]), disable=not progress, **options) as bar,
        ThreadPoolExecutor(num_threads, thread_name_prefix="extract") as pool,
    ):
        described, bad = _ahead(pool, extractor, todo, 2 * num_threads), 0
        for shard in shards:
            features, skipped = [], []
            for ref in writer.shard_images(shard):
                try:
                    features.append(next(described).result())
                except BadImageError as error:
                    skipped.append({"name": ref.name, "reason": str(error)})
                    bad += 1
                    bar.set_postfix(skipped=bad)
                bar.update()
            writer.write(shard, features, skipped)


def described(
    extractor: Extractor, images: Sequence[ImageRef], num_threads: int
) -> tuple[list[Features], list[dict[str, str]]]:
    """Features of the good images, and ``{"name", "reason"}`` of the others."""
    features, skipped = [], []
    with ThreadPoolExecutor(num_threads, thread_name_prefix="extract") as pool:
        for ref, one in zip(images, _ahead(pool, extractor, images, 2 * num_threads)):
            try:
                features.append(one.result())
            except BadImageError as error:
                skipped.append({"name": ref.name, "reason": str(error)})
    return features, skipped


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
    features, whole, offset = describe_crop(extractor, ref, loaded)
    return replace(features, image_size=whole, keypoints=features.keypoints + np.array(offset, np.float32))


def describe_crop(
    extractor: Extractor, ref: ImageRef, loaded: Loaded | None = None
) -> tuple[Features, tuple[int, int], tuple[int, int]]:
    """Features of one image or its crop, keypoints in pixels of the crop; see :func:`describe`.

    Returns:
      The features; ``(width, height)`` of the whole photo; ``(x, y)`` of the crop's top-left pixel in it.
    """
    if loaded is None:
        rule = extractor.settings.get("crop_rule", "round")
        image, whole, offset, size = load_shrunk(ref, rule, getattr(extractor, "base_size", None))
    else:
        image, whole, offset = loaded
        size = image.shape[1], image.shape[0]
    told: dict[str, Any] = {} if image.shape[1::-1] == size else {"size": size}
    features = extractor(image, ref.name, resize_factor=max(size) / max(whole), **told)
    _check_finite(features)
    return features, whole, offset


def _check_finite(features: Features) -> None:
    """Raises BadImageError where descriptors could not be compared with any."""
    vector = features.global_descriptor
    if not (np.isfinite(vector).all() and np.isfinite(features.descriptors).all()):
        raise BadImageError("its descriptors are not finite")
    if vector.size and not vector.any():
        raise BadImageError("its global descriptor is zero")


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
