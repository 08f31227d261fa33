"""Image list -> feature store: images are described ahead in threads, shards are written as they fill."""

import sys
from collections.abc import Sequence
from os import PathLike
from typing import Any

from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.batching import good_and_bad, in_order
from extraction.describing import Described
from extraction.extractors.base import Extractor
from extraction.formats.checks import check_coordinates
from extraction.images import BadImageError, ImageRef
from extraction.settings import recorded_settings
from extraction.store.reader import FeatureStore
from extraction.store.writer import StoreWriter


def extract(
    extractor: Extractor, images: Sequence[ImageRef], store_dir: str | PathLike[str], **options: Any
) -> FeatureStore:
    """Describes images and stores the features; continues where an earlier run stopped.

    A bad image is skipped and listed in the store with its reason. A finished store of the same settings and images
    is opened and returned.

    Args:
      extractor: describes the images.
      images: in the order of the store; names are unique.
      store_dir: folder of the store.
      **options: of :func:`extract_share`.

    Raises:
      InputError: no image, a name twice, none can be read, the folder cannot be written or holds another store.
    """
    store = extract_share(extractor, images, store_dir, (0, 1), **options)
    assert store is not None  # no other job has a share
    return store


def extract_share(
    extractor: Extractor,
    images: Sequence[ImageRef],
    store_dir: str | PathLike[str],
    share: tuple[int, int],
    *,
    progress: bool = True,
    num_threads: int = 2,
    local_dtype: str | None = None,
    append: bool = False,
    batch_size: int = 1,
) -> FeatureStore | None:
    """Does one of several equal shares of :func:`extract`, whose jobs write into one folder.

    Args:
      extractor: describes the images.
      images: the whole list, the same in all jobs.
      store_dir: folder of the store, the same in all jobs.
      share: this job's number, from 0 on, and the number of jobs.
      progress: show a line with images/s and the time left.
      num_threads: images described at once; the features do not depend on it.
      local_dtype: how local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`; None for the
        extractor's own.
      append: add to a store the images whose names it does not hold.
      batch_size: most images of a run of the network; see :func:`extraction.batching.batches`.

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
    write_shards(extractor, writer, own, progress=progress, num_threads=num_threads, batch_size=batch_size)
    return None if writer.missing() else writer.finish(alone=jobs == 1)


def begin(
    extractor: Extractor,
    images: Sequence[ImageRef],
    store_dir: str | PathLike[str],
    *,
    local_dtype: str | None = None,
    append: bool = False,
) -> StoreWriter:
    """Checks the arguments of :func:`extract` and makes the store's writer."""
    if not images:
        raise InputError("Expected at least one image to extract features from; the list is empty.")
    if len({ref.name for ref in images}) < len(images):
        raise InputError("Expected image names that are unique; the list holds a name twice.")
    dtype = local_dtype or extractor.local_dtype
    check_local_dtype(extractor, dtype)
    check_coordinates(extractor.settings)
    settings = recorded_settings(extractor) | {"crop": any(ref.crop is not None for ref in images)}
    return StoreWriter(store_dir, settings, images, local_dtype=dtype, append=append)


def write_shards(
    extractor: Extractor,
    writer: StoreWriter,
    shards: Sequence[int],
    *,
    progress: bool,
    num_threads: int,
    batch_size: int = 1,
) -> None:
    """Describes the images of some shards, see :func:`extraction.batching.in_order`, and writes each shard."""
    lists = [writer.shard_images(shard) for shard in shards]
    with shards_bar(writer, shards, progress=progress) as bar:
        bad = 0

        def advance(described: list[Described]) -> None:
            nonlocal bad
            bad += sum(isinstance(one, BadImageError) for one in described)
            if bad:
                bar.set_postfix(skipped=bad)
            bar.update(len(described))

        of_lists = in_order(extractor, lists, num_threads, batch_size, advance)
        for shard, refs, described in zip(shards, lists, of_lists, strict=True):
            writer.write(shard, *good_and_bad(refs, described))


def shards_bar(writer: StoreWriter, shards: Sequence[int], *, progress: bool) -> Any:
    """A progress line over the images of a store, of which those of some shards are missing."""
    missing = sum(len(writer.shard_images(shard)) for shard in shards)
    return progress_bar(
        desc="/".join(writer.folder.parts[-2:]),
        disable=not progress,
        unit="image",
        total=len(writer.images),
        initial=len(writer.images) - missing,
    )


def check_local_dtype(extractor: Extractor, local_dtype: str | None) -> None:
    """Checks that the local descriptors of an extractor can be stored in a form; None is the extractor's own.

    Raises:
      InputError: only the signs would be stored, and those are all alike.
    """
    if local_dtype == "binary" and not extractor.signed:
        raise InputError(
            f"local_dtype binary keeps the signs of local descriptors; those of {extractor.settings['extractor']} are "
            "never negative."
        )
