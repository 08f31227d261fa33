"""Reranking by AMES: a transformer reads the local descriptors of query and candidate (Suma et al., ECCV 2024)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.checks import whole
from matching.ranking import Ranking
from matching.rerankers.ames_network import AmesNetwork, Query
from matching.rerankers.base import Reranker, Scores
from matching.rerankers.mixing import check_mixing, mixed
from matching.threads import available, single_threaded

PATIENCE = 5.0  # seconds without a progress line
REMEMBERED = 64 << 20  # bytes of tokens of database images
RELEASED = {  # weight and temperature by the dimension of descriptors: of the full network, of the binary one
    768: ((0.55, 0.30), (0.35, 0.10)),  # DINOv2
    1024: ((0.85, 0.80), (0.65, 0.20)),  # CVNet
}


class Ames(Reranker):
    """Reranker ``ames``: mixes the score of the ranking and that of a transformer over the descriptors of a pair.

    The network sees the ``query_features`` and ``image_features`` local descriptors of highest score; positions and
    scores are not read. The rule is the released one, see :func:`matching.rerankers.mixing.mixed`.

    Pairs are worked on in parallel, one a thread, with 7 MB a thread for 600 and 50 features. The first
    self-attention of a query is made once. Tokens of database images are remembered (up to 64 MB, then all are
    forgotten) during a call.
    """

    name = "ames"
    uses_local = True

    def __init__(
        self,
        weights: str,
        top_k: int = 100,
        *,
        query_features: int = 600,
        image_features: int = 50,
        weight: float | None = None,
        temperature: float | None = None,
        threads: int | None = None,
    ):
        """Reads the network.

        Args:
          weights: a released checkpoint, full or binary, ``dinov2_ames.pt`` or ``dinov2_ames_dist.pt``.
          top_k: how many candidates of each query are reranked.
          query_features: largest number of local features of a query.
          image_features: largest number of local features of a candidate.
          weight: of the score of the ranking, see :func:`matching.rerankers.mixing.mixed`; None for the published
            value of the network, where another dimension of descriptors than CVNet's has those of DINOv2.
          temperature: likewise.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range, or the file is no such checkpoint.
        """
        super().__init__(top_k)
        self.query_features = whole("ames: query_features", query_features)
        self.image_features = whole("ames: image_features", image_features)
        self.threads = available(threads)
        self.network = AmesNetwork(weights)
        published = RELEASED.get(self.network.dimension, RELEASED[768])[self.network.binary]
        self.weight = published[0] if weight is None else weight
        self.temperature = published[1] if temperature is None else temperature
        check_mixing("ames", self.weight, self.temperature)

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Mixed scores.

        Args:
          queries: their local features are read one image at a time.
          database: its local features are read as they are needed, one image a thread.
          candidates: rows of the database for each query.

        Raises:
          InputError: local descriptors are not those that the network was trained on.
        """
        images = _Images(self, database)
        with single_threaded(), ThreadPoolExecutor(self.threads, thread_name_prefix=self.name) as pool:
            for q in progress_bar(range(len(candidates)), desc=self.name, unit="query", delay=PATIENCE):
                rows = candidates.row(q)
                query = self.query(queries.features(q)) if len(rows) else None
                raw = list(pool.map(lambda row, query=query: self.network.score(query, images.tokens(row)), rows))
                before = candidates.scores[q, : len(rows)]
                yield mixed(before, np.array(raw, np.float64), self.weight, self.temperature)

    def query(self, features: Features) -> Query:
        """The query's part of all its pairs.

        Raises:
          InputError: its local descriptors do not fit the network.
        """
        return self.network.query(self.network.tokens(self._descriptors(features, self.query_features), image=False))

    def image(self, features: Features) -> Floats:
        """``(n, w)`` tokens of a database image.

        Raises:
          InputError: its local descriptors do not fit the network.
        """
        return self.network.tokens(self._descriptors(features, self.image_features), image=True)

    def _descriptors(self, features: Features, most: int) -> Floats:
        """``(n, dimension)`` descriptors of highest score, checked."""
        descriptors = features.descriptors[:most]
        if not len(descriptors):
            return np.zeros((0, self.network.dimension), np.float32)
        if features.binary or descriptors.shape[1] != self.network.dimension:
            kind = "binary ones" if features.binary else f"{descriptors.shape[1]} values"
            raise InputError(
                f"ames expects local descriptors of {self.network.dimension} values, as its checkpoint was trained on; "
                f"those of {features.name!r} have {kind}."
            )
        if not np.isfinite(descriptors).all():
            raise InputError(f"The local features of {features.name!r} hold values that are not finite.")
        return np.asarray(descriptors, np.float32)


class _Images:
    """Tokens of database images, remembered by row."""

    def __init__(self, reranker: Ames, database: FeatureSource):
        self._reranker, self._database = reranker, database
        self._tokens: dict[int, Floats] = {}
        self._bytes = 0
        self._remembering = Lock()

    def tokens(self, row: int) -> Floats:
        """Tokens of a database row."""
        tokens = self._tokens.get(row)
        if tokens is None:
            tokens = self._reranker.image(self._database.features(int(row)))
            with self._remembering:
                if self._bytes + tokens.nbytes > REMEMBERED:
                    self._tokens, self._bytes = {}, 0
                self._tokens[row] = tokens
                self._bytes += tokens.nbytes
        return tokens
