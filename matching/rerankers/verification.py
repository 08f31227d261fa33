"""Verification of candidates one after another: with bounded memory, and no further than needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

WAVE = 16  # candidates verified between two checks of the order; a constant, so that threads do not change results
UNKNOWN = -1

Item = TypeVar("Item")
Result = TypeVar("Result")
Counts = NDArray[np.int64]


def windowed(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[Result]:
    """``map`` by a pool, with at most ``window`` items handed out whose results are not taken yet.

    ``Executor.map`` hands out everything at once, and holds it.

    Args:
      pool: of threads.
      function: what is done with an item.
      items: taken as they are needed.
      window: 1 or more.

    Yields:
      The results in the order of the items.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        if len(waiting) >= window:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, item))
    while waiting:
        yield waiting.popleft().result()


def settle(bounds: Counts, places: int, verify: Callable[[Counts], Sequence[int]]) -> Counts:
    """Verifies candidates until the first places are certain.

    A candidate's inliers are some of its tentative matches, so there are at most as many. Candidates are verified in
    decreasing order of that bound, and no more once the bound of the next, which is the largest of all that are left,
    comes after the last of the places. Ties go to the earlier candidate, in bounds as in counts.
    So the first places are those of verifying every candidate, in the same order.

    Args:
      bounds: ``(n,)`` the largest possible count of each candidate.
      places: how many must be certain, 1 or more.
      verify: gives the counts of candidates, by their places in ``bounds``.

    Returns:
      ``(n,)`` counts; :data:`UNKNOWN` for the candidates that were not verified.
    """
    counts = np.full(len(bounds), UNKNOWN, np.int64)
    order = np.argsort(-bounds, kind="stable")
    for start in range(0, len(order), WAVE):
        if start >= places:
            verified = np.sort(order[:start])
            last = verified[np.argsort(-counts[verified], kind="stable")[places - 1]]
            ahead = order[start]
            if (-bounds[ahead], ahead) > (-counts[last], last):
                break
        wave = order[start : start + WAVE]
        counts[wave] = verify(wave)
    return counts
