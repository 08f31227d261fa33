"""Reranking by ELViS: transport between learned local descriptors, whose entries vote (arXiv 2603.28603)."""

from collections.abc import Iterator

import numpy as np

from delg.common.errors import InputError
from extraction.features import Features, Floats
from extraction.formats.base import FeatureSource
from matching.ranking import Ranking
from matching.rerankers.base import Scores
from matching.rerankers.descriptors import FEATURES, Counts, DescriptorReranker, unit_rows
from matching.rerankers.elvis_network import ElvisNetwork
from matching.rerankers.mixing import check_mixing, mixed
from matching.rerankers.transport import plans


class Elvis(DescriptorReranker):
    """Reranker ``elvis``: learned votes of local features for a pair of images.

    A small network projects each local descriptor, and gives each a similarity to a dust bin. A transport plan between
    the features of two images follows; the largest entry of each row and column is a vote, a learned function weighs
    votes, and the score is their sum. Global similarity and score are mixed as the released code does, see
    :func:`matching.rerankers.mixing.mixed`.

    What depends on one image is computed once and remembered, so a pair costs a product and the transport.

    The released code counts the padding to 600 features as features, which changes scores by 0.1 to 2 %. Here padding
    is left out, unless ``padded`` says otherwise.
    """

    name = "elvis"

    def __init__(
        self,
        weights: str,
        top_k: int = 100,
        *,
        weight: float = 0.5,
        temperature: float = 0.5,
        features: int = FEATURES,
        padded: bool = False,
        threads: int | None = None,
    ):
        """Reads the weights and sets the parameters.

        Args:
          weights: file of a released checkpoint (``.pt``), or of ``delg-train-reranker``.
          top_k: how many candidates of each query are reranked.
          weight: of the similarity of the first stage in the new score, 0 to 1.
          temperature: factor of the score of a pair before the sigmoid.
          features: how many local features of an image are compared, those of highest score.
          padded: count each image as one of ``features`` local features, as the released code does.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range, or the file holds no weights of ELViS.
        """
        super().__init__(top_k, features, threads)
        check_mixing(self.name, weight, temperature)
        if not isinstance(weights, str):
            raise InputError(f"elvis: weights expects the path of a file. Received: {weights!r}")
        self.weight, self.temperature, self.padded = weight, temperature, bool(padded)
        self.network = ElvisNetwork.load(weights)
        descriptor = self.network.weights["remap_local.0.weight"].shape[1]
        nothing = self.network.project(np.zeros((1, descriptor), np.float32))
        self._padding_gain = float(self.network.gains(nothing)[0])

    def prepared(self, features: Features) -> Floats:
        """Projected descriptors, and the similarity to the dust bin in the last column."""
        projected = self.network.project(unit_rows(features))
        return np.column_stack([projected, self.network.gains(projected)])

    def block_scores(self, query: Floats, images: Floats, lengths: Counts, binary: bool) -> Scores:
        """Sums of votes, before the mixing."""
        m = len(query)
        plan = plans(
            np.matmul(query[:, :-1], images[:, :, :-1].transpose(0, 2, 1)),
            lengths,
            query[:, -1],
            images[:, :, -1],
            self.network.dust_bin,
            padded_rows=self.features - m if self.padded else 0,
            padded_columns=self.features - lengths if self.padded else 0,
            padding_bins=self._padding_gain,
        )
        rows, columns = (self.network.weighted(plan.max(axis=axis, initial=0)) for axis in (2, 1))
        columns *= np.arange(images.shape[1]) < lengths[:, None]
        return np.asarray(rows.sum(axis=1, dtype=np.float64) + columns.sum(axis=1, dtype=np.float64))

    def scores(self, queries: FeatureSource, database: FeatureSource, candidates: Ranking) -> Iterator[Scores]:
        """Mixed scores of the candidates.

        Raises:
          InputError: local features cannot be compared, or are not those of the weights.
        """
        for q, votes in enumerate(super().scores(queries, database, candidates)):
            yield mixed(candidates.scores[q, : len(votes)], votes, self.weight, self.temperature)
