"""Many images to features, in order: several threads at once, and images of one size in one run of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice

from extraction.describing import Described, describe_together
from extraction.extractors.base import Extractor
from extraction.features import Features
from extraction.images import BadImageError, ImageRef, Reading, Size, crop_size

PIXELS = 2**20  # most pixels at scale 1 of the images of one run; a single image may have more
Places = list[int]


@contextmanager
def threads(extractor: Extractor, number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that describe images; the extractor receives their number."""
    extractor.share_cores(number)
    try:
        with ThreadPoolExecutor(number, thread_name_prefix="extract") as pool:
            yield pool
    finally:
        extractor.share_cores(1)


def in_order(
    extractor: Extractor,
    lists: Iterable[Sequence[ImageRef]],
    num_threads: int,
    batch_size: int = 1,
    advance: Callable[[list[Described]], None] = lambda described: None,
) -> Iterator[list[Described]]:
    """Describes the images of some lists, no more than ``2 * num_threads`` runs ahead of the reader.

    While one thread waits for the network, others decode and select.

    Args:
      extractor: describes the images.
      lists: of images.
      num_threads: runs at once.
      batch_size: most images of a run; see :func:`batches`.
      advance: called with the result of each run.

    Yields:
      Of each list, in the order of the images, the features or why there are none.
    """
    with threads(extractor, num_threads) as pool:
        work = ((refs, places) for refs in lists for places in batches(extractor, refs, batch_size))
        running: deque[tuple[Sequence[ImageRef], Places, Future[list[Described]]]] = deque()

        def submit(runs: int) -> None:
            for refs, places in islice(work, runs):
                running.append((refs, places, pool.submit(describe_together, extractor, [refs[i] for i in places])))

        submit(2 * num_threads)
        by_place: dict[int, Described] = {}
        while running:
            refs, places, future = running.popleft()
            described = future.result()
            submit(1)
            advance(described)
            by_place |= zip(places, described, strict=True)
            if len(by_place) == len(refs):
                yield [by_place[i] for i in range(len(refs))]
                by_place = {}


def batches(extractor: Extractor, refs: Sequence[ImageRef], batch_size: int) -> list[Places]:
    """Which images of a list are described in one run: those that the extractor resizes to one size.

    A run has no more than :data:`PIXELS` pixels at scale 1, so that its memory is bounded: many small images, or one.

    Args:
      extractor: describes the images; one that is not ``batched`` gets each image alone.
      refs: the images.
      batch_size: most images of a run.

    Returns:
      Places in the list, by the first image of each run.
    """
    if batch_size == 1 or not extractor.batched:
        return [[i] for i in range(len(refs))]
    runs: list[Places] = []
    open_runs: dict[Size, Places] = {}
    for i, ref in enumerate(refs):
        size = _base_size(extractor, ref)
        run = open_runs.get(size) if size else None
        if size is None or run is None or len(run) >= min(batch_size, PIXELS // (size[0] * size[1])):
            run = []
            runs.append(run)
            if size is not None:
                open_runs[size] = run
        run.append(i)
    return runs


def _base_size(extractor: Extractor, ref: ImageRef) -> Size | None:
    """The size that an image is resized to, by the header of its file; None where the header cannot be read."""
    try:
        side, whole = crop_size(ref, Reading.of(extractor.settings))
        return extractor.base_size(side, max(side) / max(whole))
    except BadImageError:
        return None


def good_and_bad(
    refs: Sequence[ImageRef], described: Sequence[Described]
) -> tuple[list[Features], list[dict[str, str]]]:
    """Features of the good images, and ``{"name", "reason"}`` of the others."""
    features = [one for one in described if not isinstance(one, BadImageError)]
    pairs = [(ref.name, one) for ref, one in zip(refs, described, strict=True) if isinstance(one, BadImageError)]
    return features, [{"name": name, "reason": str(error)} for name, error in pairs]
