"""What every benchmark is turned into before it is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from evaluation.benchmarks.protocols import Truth
from evaluation.metrics.ranking import KS
from extraction.images import ImageRef


@dataclass(frozen=True, eq=False)
class Benchmark:
    """Queries, database and truths.

    Attributes:
      name: its name in the table.
      queries: query images; a query that is a part of a photo carries its crop.
      database: database images.
      protocols: for each protocol a truth for each query; rows count in ``database``.
      homographies: the file ``name -> (3, 3)`` of true homographies from the landmark's plane to each image, where
        the benchmark has one.
      any_recall: whether its rows also hold R@k, the share of queries with any right image in the first k.
      count_all: whether queries without right images count as failures in R@k; otherwise they have no part in it.
      cut_map: whether its rows also hold mAP@k, see :func:`evaluation.metrics.ranking.cut_ap`.
      ks: the list lengths k of its precisions and recalls.
      truth: the file of its ground truth, where it has one.
      squares: ``(Q,)`` int64, the square of land that each query lies in, where right images in common do not tell
        which queries are of one thing, as along a street each shares some with the next.
      side: of these squares, in metres.
      own_photos: whether its photos are the user's, whose orientation tag may be obeyed; a published protocol takes
        them as they are stored.
    """

    name: str
    queries: list[ImageRef]
    database: list[ImageRef]
    protocols: dict[str, list[Truth]]
    homographies: Path | None = None
    any_recall: bool = False
    count_all: bool = False
    cut_map: bool = False
    ks: tuple[int, ...] = KS
    truth: Path | None = None
    squares: NDArray[np.int64] | None = None
    side: float = 0.0
    own_photos: bool = False

    @property
    def leave_one_out(self) -> bool:
        """Whether the queries are the database images themselves, so that one feature store serves both."""
        return self.queries == self.database

    @property
    def main_protocol(self) -> str:
        """The protocol that single-protocol views show: medium where there is one."""
        return "medium" if "medium" in self.protocols else next(iter(self.protocols))

    def check_images(self) -> None:
        """Proves that every image file is there, before any work.

        Raises:
          InputError: files are missing; names the first and says how many.
        """
        missing = missing_images([*self.queries, *self.database])
        if missing:
            raise InputError(
                f"The benchmark {self.name} misses {len(missing)} of its {len(self.queries) + len(self.database)} "
                f"images; the first is {missing[0]}."
            )


def missing_images(images: Sequence[ImageRef]) -> list[str]:
    """Paths that do not exist; each folder is listed once, which is quick for large sets."""
    present: dict[Path, set[str]] = {}
    missing = []
    for image in images:
        path = Path(image.path)
        if path.parent not in present:
            present[path.parent] = {p.name for p in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in present[path.parent]:
            missing.append(image.path)
    return missing
