"""Signs of global descriptors, one bit a value, compared by Hamming distance."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.files import atomic_path
from matching.checks import whole
from matching.indexes.base import Descriptors, Floats, Index, in_order
from matching.indexes.faiss_index import threads
from matching.indexes.rows import (
    MATRIX,
    block_rows,
    blocks,
    check_matrix,
    matrix_file,
    open_matrix,
    rescore,
    write_matrix,
)
from matching.ranking import Ranking

BITS = "bits.npy"


class Binary(Index):
    """All rows are compared, by ``D`` bits each: 32 times smaller than float32."""

    tunable: tuple[str, ...] = ("rescore",)

    def __init__(self, rescore: int = 1000):
        """Takes how many candidates of a query are scored exactly.

        With 0 the scores are ``1 - 2 h / D`` of the Hamming distance ``h``, the mean product of signs.

        Raises:
          InputError: it is no whole number of at least 0.
        """
        self.rescore = whole("rescore", rescore, 0)
        self._matrix = Path()
        self._bits: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def build(self, descriptors: Descriptors, folder: Path) -> None:
        """Writes the bits, and the descriptors as float16."""
        if self.rescore:
            write_matrix(descriptors, folder / MATRIX, "float16", self.unit)
        if (folder / BITS).is_file():
            return
        if not self.rescore:
            check_matrix(descriptors, self.unit)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(descriptors), -(-descriptors.shape[1] // 8))}
        with atomic_path(folder / BITS) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for _, block in blocks(descriptors, block_rows(descriptors.shape[1])):
                file.write(np.packbits(block > 0, axis=1).data)

    def open(self, folder: Path, shape: tuple[int, int]) -> None:
        """Maps the bits."""
        self._matrix = matrix_file(folder, self.rescore, shape)
        self._bits = open_matrix(folder / BITS, (shape[0], -(-shape[1] // 8)))

    def search(self, queries: Floats, top_k: int) -> Ranking:
        """Searches for candidates, then scores them."""
        import faiss

        wanted = min(max(self.rescore, top_k), len(self._bits))
        signs = np.packbits(queries > 0, axis=1)
        with threads(self._bits.size):
            distances, indices = faiss.knn_hamming(signs, self._bits, wanted)
        if self.rescore:
            return rescore(queries, self._matrix, indices.astype(np.int64), top_k)
        return in_order(indices, 1 - 2 * distances.astype(np.float32) / queries.shape[1]).top(top_k)
