"""The base class of rerankers that compare the local descriptors of two images, wherever these lie in the pictures."""

from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.checks import whole
from matching.local.matching import check_pair
from matching.ranking import Ranking
from matching.rerankers.base import Reranker, Scores
from matching.threads import available, single_threaded

FEATURES = 600  # of an image; those of the published methods
ENTRIES = 1 << 17  # of the similarities that a thread works on at once, 512 KiB, or one image's
REMEMBERED = 64 << 20  # bytes of prepared descriptors
PATIENCE = 5.0  # seconds without a progress line

Counts = NDArray[np.int64]


class DescriptorReranker(Reranker):
    """A reranker that scores pairs of images by their local descriptors alone; keypoints are not read.

    A subclass prepares the descriptors of one image, and scores a query against a block of images. Prepared
    descriptors of database images are remembered (up to 64 MiB, then all are forgotten) as long as calls are made
    with the same database. Blocks are worked on in parallel.

    Attributes:
      features: the largest number of local features of an image that are compared: those of highest score.
      threads: of the pool over blocks.
    """

    uses_local = True

    def __init__(self, top_k: int, features: int, threads: int | None):
        """Sets the number of candidates, the number of features, and that of threads, None for one a core.

        Raises:
          InputError: a number is out of range.
        """
        super().__init__(top_k)
        self.features = whole(f"{self.name}: features", features)
        self.threads = available(threads)
        self._prepared: dict[int, Floats] = {}
        self._bytes = 0
        self._database: FeatureSource | None = None
        self._remembering = Lock()

    @abstractmethod
    def prepared(self, features: Features) -> Floats:
        """What is compared of one image.

        Args:
          features: of an image, one or more local features.

        Returns:
          ``(N, w)`` float32, a row for each local feature; ``w`` is the same for all images.

        Raises:
          InputError: the features do not suit the reranker.
        """

    @abstractmethod
    def block_scores(self, query: Floats, images: Floats, lengths: Counts, binary: bool) -> Scores:
        """Scores of images.

        Args:
          query: ``(m, w)``, prepared, m of 1 or more.
          images: ``(B, N, w)``, prepared, and rows of zeros behind the features of an image.
          lengths: ``(B,)`` how many features each image has.
          binary: whether the local descriptors are signs.

        Returns:
          ``(B,)``, larger is more similar.
        """

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Scores of the candidates; all 0 where the query has no local features.

        Raises:
          InputError: local features cannot be compared, or do not suit the reranker.
        """
        if self._database is not database:
            self._prepared, self._bytes, self._database = {}, 0, database
        with single_threaded(), ThreadPoolExecutor(self.threads, thread_name_prefix=self.name) as pool:
            for q in progress_bar(range(len(candidates)), desc=self.name, unit="query", delay=PATIENCE):
                yield self._of_query(pool, queries.features(q).top(self.features), database, candidates.row(q))

    def _of_query(self, pool: Executor, query: Features, database: FeatureSource, rows: Counts) -> Scores:
        """``(K,)`` scores of the candidates of one query."""
        scores = np.zeros(len(rows), np.float64)
        if not len(query) or not len(rows):
            return scores
        left = self._checked(query, query)
        images = list(pool.map(partial(self._image, query, database, left.shape[1]), rows.tolist()))
        order = np.argsort([-len(image) for image in images], kind="stable")
        blocks, start = [], 0
        while start < len(order):  # images of similar numbers of features together, those of most first
            size = max(1, ENTRIES // max(1, len(left) * len(images[order[start]])))
            blocks.append(order[start : start + size])
            start += size

        def score(block: Counts) -> None:
            lengths = np.array([len(images[i]) for i in block], np.int64)
            stacked = np.zeros((len(block), lengths.max(), left.shape[1]), np.float32)
            for row, i in enumerate(block):
                stacked[row, : lengths[row]] = images[i]
            scores[block] = self.block_scores(left, stacked, lengths, query.binary)

        list(pool.map(score, blocks))
        return scores

    def _image(self, query: Features, database: FeatureSource, width: int, row: int) -> Floats:
        """Prepared descriptors of a database image, from memory where they are remembered."""
        image = self._prepared.get(row)
        if image is None:
            image = self._checked(query, database.features(row).top(self.features), width)
            with self._remembering:
                if self._bytes + image.nbytes > REMEMBERED:
                    self._prepared, self._bytes = {}, 0
                self._prepared[row] = image
                self._bytes += image.nbytes
        if image.shape[1] != width:
            raise InputError(f"{self.name} met local descriptors of different dimensions in one set of features.")
        return image

    def _checked(self, query: Features, image: Features, width: int = 0) -> Floats:
        """Prepared descriptors of an image that can be compared with the query."""
        check_pair(query, image)
        return self.prepared(image) if len(image) else np.zeros((0, width), np.float32)


def unit_rows(features: Features) -> Floats:
    """``(N, d)`` float32 local descriptors as unit vectors; the signs of binary ones become numbers of equal size.

    Zero descriptors stay zero.
    """
    if features.binary:
        bits = np.unpackbits(np.asarray(features.descriptors, np.uint8), axis=1)
        return (2 * bits.astype(np.float32) - 1) / np.float32(bits.shape[1] ** 0.5)
    return normalised(np.asarray(features.descriptors, np.float32))


def normalised(rows: Floats) -> Floats:
    """Rows of norm 1; zero rows stay zero."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    return rows / np.maximum(norms, 1e-12).astype(np.float32)[:, None]
