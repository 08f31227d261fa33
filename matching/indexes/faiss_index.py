"""An index of the FAISS library (github.com/facebookresearch/faiss): training, adding, opening, searching.

Similarity is the inner product. The candidates of the index are then scored exactly with a float16 copy of the
descriptors on disk, unless ``rescore`` is 0.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from delg.common.errors import InputError
from delg.common.files import atomic_path
from matching.checks import whole
from matching.indexes.base import Descriptors, Floats, Index, in_order
from matching.indexes.exact import search
from matching.indexes.rows import MATRIX, block_rows, blocks, check_matrix, matrix_file, rescore, write_matrix
from matching.ranking import Ranking
from matching.threads import available, faiss_threads, single_threaded

FILE, TRAINED = "index.faiss", "trained.faiss"
SMALL = 1 << 22  # values of all descriptors; below, one thread is faster than several
SAMPLE, SAMPLE_PER_LIST = 1 << 14, 40  # rows that suffice to train an index
SAMPLE_BYTES = 1 << 30  # largest size of the float32 rows that train an index
ITERATIONS = 10  # of k-means
PIECE = 1024  # rows that a thread compares with all centroids at once

Rows = NDArray[np.int64]


class Faiss(Index):
    """An index by the text of its factory, such as ``faiss(factory="OPQ64,IVF1024,PQ64x4fs")``.

    All cores build an HNSW graph at once, so that two builds differ a little; all other kinds are reproducible on one
    machine.
    """

    tunable: tuple[str, ...] = ("nprobe", "ef_search", "rescore")

    def __init__(
        self,
        *,
        factory: str = "Flat",
        nprobe: int = 16,
        ef_search: int = 128,
        ef_construction: int = 80,
        rescore: int = 500,
        seed: int = 0,
    ):
        """Takes the settings.

        Args:
          factory: text of ``faiss.index_factory``.
          nprobe: number of inverted lists that a query searches.
          ef_search: number of candidates in the search of a graph.
          ef_construction: number of candidates in the construction of a graph.
          rescore: number of candidates of a query that are scored exactly; 0 for none.
          seed: of the training sample and of k-means.

        Raises:
          InputError: a number is too small.
        """
        if not isinstance(factory, str):
            raise InputError(f"faiss expects factory to be a text such as 'IVF1024,PQ64x4fs'. Received: {factory!r}")
        self.text = factory
        self.nprobe, self.ef_search = whole("nprobe", nprobe, 1), whole("ef_search", ef_search, 1)
        self.ef_construction = whole("ef_construction", ef_construction, 1)
        self.rescore, self.seed = whole("rescore", rescore, 0), whole("seed", seed, 0)
        self._index: Any = None
        self._centres: Floats | None = None  # of the lists, where NumPy finds the nearest
        self._matrix = Path()

    def factory(self, count: int, dimension: int) -> str:
        """The text of the factory for ``count`` descriptors of this dimension."""
        return self.text

    def finished(self, index: Any) -> Any:
        """The index to save, once all descriptors are added."""
        return index

    def check(self, count: int, dimension: int) -> None:
        """Checks that the factory makes an index.

        Raises:
          InputError: FAISS does not know the text, or the text does not fit dimension or number of descriptors.
        """
        _make(self.factory(count, dimension), dimension, self.seed)

    def build(self, descriptors: Descriptors, folder: Path) -> None:
        """Trains on a sample, then adds all descriptors; removes the file of the trained index at the end."""
        import faiss

        if self.rescore:
            write_matrix(descriptors, folder / MATRIX, "float16", self.unit)
        if (folder / FILE).is_file():
            return
        if not self.rescore:
            check_matrix(descriptors, self.unit)
        with threads(descriptors.size):
            index = self._trained(descriptors, folder / TRAINED)
            _add(index, descriptors)
        with atomic_path(folder / FILE) as temporary:
            faiss.write_index(self.finished(index), str(temporary))
        (folder / TRAINED).unlink(missing_ok=True)

    def _trained(self, descriptors: Descriptors, path: Path) -> Any:
        """The index before any descriptor is added."""
        import faiss

        count, dimension = descriptors.shape
        if path.is_file():
            try:
                return faiss.read_index(str(path))
            except RuntimeError as error:
                raise InputError(f"{path} is damaged ({_reason(error)}); remove it and run again.") from error
        text = self.factory(count, dimension)
        index = _make(text, dimension, self.seed)
        lists, graph = _lists(index), _graph(index)
        if graph is not None:
            graph.efConstruction = self.ef_construction
        if index.is_trained:
            return index
        most = count if lists is None else max(SAMPLE, SAMPLE_PER_LIST * lists.nlist)
        size = min(sample_size(count, dimension), most)
        try:
            _train(index, _sample(descriptors, size, self.seed), self.seed)
        except RuntimeError as error:
            raise InputError(
                f"FAISS cannot train {text!r} on {size} descriptors of dimension {dimension}; expected more images "
                f"or a smaller index ({_reason(error)})."
            ) from error
        with atomic_path(path) as temporary:
            faiss.write_index(index, str(temporary))
        return index

    def open(self, folder: Path, shape: tuple[int, int]) -> None:
        """Memory-maps the index; reads codes of fast-scan kinds (``x4fs``) into memory."""
        import faiss

        self._matrix = matrix_file(folder, self.rescore, shape)
        try:
            mapped = faiss.IO_FLAG_MMAP if "IVF" in self.text else faiss.IO_FLAG_MMAP_IFC
            self._index = faiss.read_index(str(folder / FILE), mapped)
            self._centres = self._index.quantizer.reconstruct_n() if _by_products(self._index) else None
        except RuntimeError as error:
            raise ValueError(_reason(error)) from error
        if (self._index.ntotal, self._index.d) != shape:
            raise ValueError(f"{FILE} is of shape {(self._index.ntotal, self._index.d)}, expected {shape}")

    def search(self, queries: Floats, top_k: int) -> Ranking:
        """Searches for candidates, then scores them."""
        lists, graph = _lists(self._index), _graph(self._index)
        wanted = min(max(self.rescore, top_k), self._index.ntotal)
        if lists is not None:
            lists.nprobe = min(self.nprobe, lists.nlist)
        if graph is not None:
            graph.efSearch = max(self.ef_search, wanted)
        with threads(self._index.ntotal * queries.shape[1]):
            if self._centres is None:
                scores, indices = self._index.search(queries, wanted)
            else:
                near = search(queries, self._centres, lists.nprobe)
                scores, indices = self._index.search_preassigned(queries, wanted, near.indices, near.scores)
        if self.rescore:
            return rescore(queries, self._matrix, indices, top_k)
        return in_order(indices, scores).top(top_k)


def threads(values: int) -> AbstractContextManager[None]:
    """A context in which FAISS uses all cores, or one core for few values."""
    return faiss_threads(1 if values < SMALL else available())


def sample_size(count: int, dimension: int) -> int:
    """Largest number of descriptors that train an index."""
    return min(count, SAMPLE_BYTES // (4 * dimension))


def _make(text: str, dimension: int, seed: int) -> Any:
    """An empty index by inner product."""
    import faiss

    try:
        index = faiss.index_factory(dimension, text, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(f"FAISS cannot make {text!r} for dimension {dimension} ({_reason(error)}).") from error
    lists = _lists(index)
    if lists is not None:
        for part in (lists, getattr(lists, "pq", None)):
            if part is not None:
                part.cp.seed, part.cp.niter, part.cp.min_points_per_centroid = seed, ITERATIONS, 1
    return index


def _by_products(index: Any) -> bool:
    """Whether an index has inverted lists that a query selects by inner products with all centres."""
    import faiss

    outer: Any = faiss.downcast_index(index)
    lists = _lists(index)
    if lists is None or type(lists) is not type(outer):
        return False
    quantizer = faiss.downcast_index(lists.quantizer)
    return isinstance(quantizer, faiss.IndexFlat) and quantizer.metric_type == faiss.METRIC_INNER_PRODUCT


def _sample(descriptors: Descriptors, size: int, seed: int) -> Floats:
    """Rows to train on."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(descriptors), size, replace=False))
    return np.asarray(descriptors[rows], np.float32)


def _train(index: Any, sample: Floats, seed: int) -> None:
    """Trains an index; where possible, NumPy finds the centres of the lists, and fewer rows train the codes.

    FAISS trains with one thread: training has thousands of small steps, and threads that wait for each other after
    each step took 80 times as long on a busy machine.
    """
    lists = _lists(index)
    if _by_products(index) and lists.nlist <= len(sample):
        lists.quantizer.add(centroids(sample, lists.nlist, seed))
        rng = np.random.default_rng(seed)
        sample = sample[np.sort(rng.choice(len(sample), min(len(sample), SAMPLE), replace=False))]
    with threads(0):
        index.train(sample)


def _add(index: Any, descriptors: Descriptors) -> None:
    """Adds all descriptors; where possible, NumPy assigns the descriptors to lists."""
    import faiss

    centres = None
    if _by_products(index) and not isinstance(_lists(index), faiss.IndexIVFFastScan):
        centres = _lists(index).quantizer.reconstruct_n()
    for _, block in blocks(descriptors, block_rows(descriptors.shape[1])):
        if centres is None:
            index.add(block)
        else:
            owners = assigned(block, centres)
            index.add_core(len(block), faiss.swig_ptr(block), None, faiss.swig_ptr(owners))


def _lists(index: Any) -> Any:
    """The inverted lists inside an index, or None."""
    import faiss

    lists = faiss.try_extract_index_ivf(index)
    return faiss.downcast_index(lists) if lists is not None else None


def _graph(index: Any) -> Any:
    """The graph of an index, or None."""
    import faiss

    return getattr(faiss.downcast_index(index), "hnsw", None)


def _reason(error: RuntimeError) -> str:
    """The message of FAISS without the position in its code."""
    return str(error).splitlines()[0].split(" at /")[-1].split(": ", 1)[-1]


def centroids(sample: Floats, count: int, seed: int) -> Floats:
    """The centres of ``count`` lists, by spherical k-means [Dhillon and Modha, Machine Learning 2001].

    NumPy's matrix products were measured at five times the speed of those in FAISS' wheel. Starts at random rows. An
    empty list takes a random row.

    Args:
      sample: ``(n, D)`` rows of unit norm; ``n`` is at least ``count``.
      count: number of lists.
      seed: of the draws.

    Returns:
      ``(count, D)``, of unit norm.
    """
    rng = np.random.default_rng(seed)
    centres = sample[rng.choice(len(sample), count, replace=False)]
    for _ in range(ITERATIONS):
        owners = assigned(sample, centres)
        members = csr_array((np.ones(len(sample), np.float32), (owners, np.arange(len(sample)))), (count, len(sample)))
        centres = members @ sample
        norms = np.linalg.norm(centres, axis=1, keepdims=True)
        lost = norms[:, 0] < 1e-6
        centres /= np.where(lost[:, None], 1, norms)
        centres[lost] = sample[rng.integers(0, len(sample), int(lost.sum()))]
    return np.ascontiguousarray(centres, np.float32)


def assigned(rows: Floats, centres: Floats) -> Rows:
    """The centre of each row: the one with the largest inner product, the first of equal centres.

    Args:
      rows: ``(n, D)``.
      centres: ``(L, D)``.

    Returns:
      ``(n,)`` numbers of centres.
    """
    owners = np.empty(len(rows), np.int64)

    def assign(start: int) -> None:
        owners[start : start + PIECE] = (rows[start : start + PIECE] @ centres.T).argmax(axis=1)

    with single_threaded(), ThreadPoolExecutor(available()) as pool:
        list(pool.map(assign, range(0, len(rows), PIECE)))
    return owners
