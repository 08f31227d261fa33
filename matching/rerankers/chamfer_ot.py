"""Reranking by Chamfer similarity of local descriptors, sharpened by optimal transport; nothing is learned."""

import numpy as np

from extraction.features import Features, Floats
from matching.checks import number
from matching.rerankers.base import Scores
from matching.rerankers.descriptors import FEATURES, Counts, DescriptorReranker, unit_rows
from matching.rerankers.transport import plans


class ChamferOT(DescriptorReranker):
    """Reranker ``chamfer_ot``: orders candidates by how well each local feature finds a partner in the other image.

    Plain Chamfer similarity sums, for each feature of both images, the similarity to the most similar feature of the
    other. With transport, similarities are first turned into a plan that gives each feature one unit to share, and a
    dust bin takes what has no partner: the score sums the largest entries of the plan's rows and columns. The plan is
    that of ELViS (Suma et al., arXiv 2603.28603) on the descriptors as they are.

    Similarities are cosines; those of binary descriptors are estimated from the share of equal signs, as in
    :func:`matching.local.matching.nearest_bits`.
    """

    name = "chamfer_ot"

    def __init__(
        self,
        top_k: int = 100,
        *,
        dustbin: float | None = 0.5,
        mean: bool = False,
        features: int = FEATURES,
        threads: int | None = None,
    ):
        """Sets the parameters.

        Args:
          top_k: how many candidates of each query are reranked.
          dustbin: similarity below which features rather stay without a partner, 0 to 1; None for plain Chamfer
            similarity without transport.
          mean: take the mean over the features of each image, and of the two images, in place of the sum; so images of
            many features have no advantage.
          features: how many local features of an image are compared, those of highest score.
          threads: of the pool over candidates; None for one a core. The result does not depend on it.

        Raises:
          InputError: an argument is out of range.
        """
        super().__init__(top_k, features, threads)
        self.dustbin = dustbin if dustbin is None else number("chamfer_ot: dustbin", dustbin, most=1)
        self.mean = bool(mean)

    def prepared(self, features: Features) -> Floats:
        """Unit vectors."""
        return unit_rows(features)

    def block_scores(self, query: Floats, images: Floats, lengths: Counts, binary: bool) -> Scores:
        """See :meth:`matching.rerankers.descriptors.DescriptorReranker.block_scores`."""
        similarities = np.matmul(query, images.transpose(0, 2, 1))
        if binary:
            np.sin(similarities * np.float32(np.pi / 2), out=similarities)
        absent = np.arange(images.shape[1]) >= lengths[:, None]
        if self.dustbin is None:
            lowest = np.float32(-2)
            columns = np.where(absent, 0, similarities.max(axis=1))
            rows = np.where(absent[:, None], lowest, similarities).max(axis=2, initial=lowest)
            rows[lengths == 0] = 0
        else:
            plan = plans(similarities, lengths, self.dustbin, self.dustbin, self.dustbin)
            rows, columns = plan.max(axis=2, initial=0), plan.max(axis=1)
        of_rows, of_columns = rows.sum(axis=1, dtype=np.float64), columns.sum(axis=1, dtype=np.float64)
        if self.mean:
            of_rows, of_columns = of_rows / (2 * len(query)), of_columns / (2 * np.maximum(lengths, 1))
        return np.asarray(of_rows + of_columns)
