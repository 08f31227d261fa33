"""The kinds of FAISS indexes that have a name: flat, inverted lists with three codes, graphs.

``nlist``, ``m``, ``nbits``, ``nprobe`` and ``ef`` are FAISS's own words; any other kind goes by its factory's text.
"""

from math import log2, sqrt
from typing import Any

from delg.common.errors import InputError
from matching.checks import whole
from matching.indexes.faiss_index import Faiss, sample_size

ROWS_PER_LIST = 32  # least training rows of an inverted list, where nlist is None


class Flat(Faiss):
    """Every row of a float32 matrix: exact, by FAISS's own kernels."""

    unit = False
    tunable: tuple[str, ...] = ()

    def __init__(self) -> None:
        """There is nothing to set."""
        super().__init__(factory="Flat", rescore=0)


class _InvertedLists(Faiss):
    """The rows are divided by k-means; a query looks into the ``nprobe`` nearest lists."""

    tunable: tuple[str, ...] = ("nprobe", "rescore")

    def __init__(self, nlist: int | None, nprobe: int, rescore: int, seed: int):
        super().__init__(factory="IVF", nprobe=nprobe, rescore=rescore, seed=seed)
        self.nlist = nlist if nlist is None else whole("nlist", nlist, 1)

    def lists(self, count: int, dimension: int) -> int:
        """Number of lists: ``nlist``, or the power of two next to ``4 sqrt(N)`` that training rows suffice for."""
        if self.nlist is not None:
            if self.nlist > count:
                raise InputError(f"nlist expects at most the number of images, {count}. Received: {self.nlist}")
            return self.nlist
        wanted = 1 << round(log2(4 * sqrt(count)))
        while wanted > max(1, sample_size(count, dimension) // ROWS_PER_LIST):
            wanted //= 2
        return wanted


class IvfPq(_InvertedLists):
    """Inverted lists of product-quantised rows [Jegou et al., PAMI 2011], scanned in registers if ``nbits=4``."""

    def __init__(
        self,
        *,
        nlist: int | None = None,
        m: int | None = None,
        nbits: int = 4,
        nprobe: int = 16,
        rescore: int = 500,
        seed: int = 0,
    ):
        """Takes the settings.

        Args:
          nlist: number of lists; None to choose by the number of rows.
          m: parts that a descriptor is cut into, a divisor of its dimension; None for parts of 8 values.
          nbits: of a part's code: 4 or 8.
          nprobe: lists that a query looks into.
          rescore: candidates of a query that are scored exactly; 0 for none.
          seed: of the training sample and of k-means.

        Raises:
          InputError: a number does not fit.
        """
        super().__init__(nlist, nprobe, rescore, seed)
        if nbits not in (4, 8):
            raise InputError(f"nbits expects 4 or 8. Received: {nbits!r}")
        self.m, self.nbits = m if m is None else whole("m", m, 1), nbits

    def factory(self, count: int, dimension: int) -> str:
        """The factory's text."""
        m = self.m or next(m for m in range(max(1, dimension // 8), 0, -1) if dimension % m == 0)
        if dimension % m:
            raise InputError(f"m expects a divisor of the dimension {dimension}. Received: {m}")
        if count < 1 << self.nbits:
            raise InputError(f"ivf_pq(nbits={self.nbits}) expects at least {1 << self.nbits} images. Received: {count}")
        return f"IVF{self.lists(count, dimension)},PQ{m}x{self.nbits}np"

    def finished(self, index: Any) -> Any:
        """Lays codes of 4 bits out for registers."""
        import faiss

        return faiss.IndexIVFPQFastScan(index) if self.nbits == 4 else index


class IvfSq(_InvertedLists):
    """Inverted lists of float16 rows."""

    tunable: tuple[str, ...] = ("nprobe",)

    def __init__(self, nlist: int | None = None, nprobe: int = 16, seed: int = 0):
        """Takes the number of lists (None to choose by the number of rows), how many a query looks into, and a seed.

        Raises:
          InputError: a number is too small.
        """
        super().__init__(nlist, nprobe, 0, seed)

    def factory(self, count: int, dimension: int) -> str:
        """The factory's text."""
        return f"IVF{self.lists(count, dimension)},SQfp16"


class IvfRabitq(_InvertedLists):
    """Inverted lists of rows of one bit a value [Gao and Long, SIGMOD 2024]: RaBitQ, which needs no training."""

    def __init__(self, nlist: int | None = None, nprobe: int = 16, rescore: int = 500, seed: int = 0):
        """Takes the number of lists (None to choose), how many a query looks into, candidates to score, and a seed.

        Raises:
          InputError: a number is too small.
        """
        super().__init__(nlist, nprobe, rescore, seed)

    def factory(self, count: int, dimension: int) -> str:
        """The factory's text."""
        return f"IVF{self.lists(count, dimension)},RaBitQ"


class Hnsw(Faiss):
    """A graph over float16 rows [Malkov and Yashunin, PAMI 2020]."""

    tunable: tuple[str, ...] = ("ef_search",)

    def __init__(self, m: int = 32, ef_construction: int = 80, ef_search: int = 128):
        """Takes the links of a row, and the candidates that building and searching keep.

        Raises:
          InputError: a number is too small.
        """
        super().__init__(
            factory=f"HNSW{whole('m', m, 2)}_SQfp16", ef_search=ef_search, ef_construction=ef_construction, rescore=0
        )
