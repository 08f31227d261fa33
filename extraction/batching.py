"""Many images to features, in order: by several threads at once, those of one size in one run of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

from extraction.describing import Extractor, Found, describe_together
from extraction.images import BadImageError, ImageRef, Reading, Size, crop_size

PIXELS = 2**20  # that the images of one run have at scale 1, or else it is one image
Places = list[int]


@contextmanager
def threads(extractor: Extractor, number: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that describe images, of which the extractor is told."""
    share_cores = getattr(extractor, "share_cores", lambda _: None)
    share_cores(number)
    try:
        with ThreadPoolExecutor(number, thread_name_prefix="extract") as pool:
            yield pool
    finally:
        share_cores(1)


def in_order(
    extractor: Extractor,
    lists: Iterable[Sequence[ImageRef]],
    num_threads: int,
    batch_size: int = 1,
    advance: Callable[[list[Found]], None] = lambda found: None,
) -> Iterator[list[Found]]:
    """Describes the images of some lists, no more than ``2 * num_threads`` runs ahead of the reader.

    While one thread waits for the network, others decode and select.

    Args:
      extractor: what describes an image.
      lists: of images.
      num_threads: runs at once.
      batch_size: most images of a run; see :func:`buckets`.
      advance: told what each run found.

    Yields:
      Of each list, in the order of the images, the features or why there are none.
    """
    with threads(extractor, num_threads) as pool:
        work = ((refs, places) for refs in lists for places in buckets(extractor, refs, batch_size))
        running: deque[tuple[Sequence[ImageRef], Places, Future[list[Found]]]] = deque()

        def submit(runs: int) -> None:
            for refs, places in islice(work, runs):
                running.append((refs, places, pool.submit(describe_together, extractor, [refs[i] for i in places])))

        submit(2 * num_threads)
        done: dict[int, Found] = {}
        while running:
            refs, places, future = running.popleft()
            found = future.result()
            submit(1)
            advance(found)
            done |= zip(places, found, strict=True)
            if len(done) == len(refs):
                yield [done[i] for i in range(len(refs))]
                done = {}


def buckets(extractor: Any, refs: Sequence[ImageRef], batch_size: int) -> list[Places]:
    """Which images of a list are described in one run: those that the extractor brings to one size.

    A run has no more than :data:`PIXELS` pixels at scale 1, so that its memory is bounded: many small images, or one.

    Args:
      extractor: an :class:`Extractor`; of one without ``together`` every image is alone.
      refs: the images.
      batch_size: most images of a run.

    Returns:
      Places in the list, by the first image of each run.
    """
    if batch_size == 1 or not hasattr(extractor, "together"):
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


def _base_size(extractor: Any, ref: ImageRef) -> Size | None:
    """The size that an image is brought to, by its file's head; None where it cannot be read."""
    try:
        side, whole = crop_size(ref, Reading.of(extractor.settings))
        base: Size = extractor.base_size(side, max(side) / max(whole))
    except BadImageError:
        return None
    return base


def sorted_out(refs: Sequence[ImageRef], found: Sequence[Found]) -> tuple[list[Any], list[dict[str, str]]]:
    """Features of the good images, and ``{"name", "reason"}`` of the others."""
    features = [one for one in found if not isinstance(one, BadImageError)]
    pairs = [(ref.name, one) for ref, one in zip(refs, found, strict=True) if isinstance(one, BadImageError)]
    return features, [{"name": name, "reason": str(error)} for name, error in pairs]
