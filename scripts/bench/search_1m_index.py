"""Search of a million descriptors by an inverted file with product quantisation, its candidates scored exactly.

The reference is the exact search of the float16 file. The bound is what such an index cannot do without, in float32
and in memory: the products of the queries with the centroids of its lists and with the candidates.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from extraction.features import Features
from matching.indexes.faiss_kinds import IvfPq
from matching.indexes.table import build_index, open_index, search
from matching.ranking import Ranking
from matching.rerankers.superglobal import SuperGlobal
from matching.source import MemorySource
from scripts.bench.measure import Options, interleaved, on_all_cores
from scripts.bench.search_data import DIMENSION, QUERIES, TOP_K, Floats, Store, data, in_words, recall, resident

KIND = "ivf_pq"
HEAD = 400  # candidates of SuperGlobal


def search_folder(path: Path, queries: Floats) -> None:
    """Opens the index and searches, for the memory of both."""
    open_index(path).search(queries, TOP_K)


def least_products(queries: Floats, kind: IvfPq, rows: int, threads: int) -> Callable[[int], None]:
    """An action that does the products that the index cannot do without."""
    rng = np.random.default_rng(0)
    centroids = rng.standard_normal((kind.lists(rows, DIMENSION), DIMENSION), np.float32)
    candidates = rng.standard_normal((8, min(rows, kind.rescore), DIMENSION), np.float32)

    def action(_: int) -> None:
        queries @ centroids.T
        on_all_cores(lambda q: candidates[q % 8] @ queries[q], range(len(queries)), threads)

    return action


def two_stages(queries: Floats, store: Store, exact: Ranking, found: Ranking, options: Options) -> dict[str, object]:
    """SuperGlobal after the index: its time, and how much of its answer differs from that after exact search."""
    source = MemorySource([Features(str(q), (1, 1), query) for q, query in enumerate(queries)])
    reranker = SuperGlobal(HEAD, threads=options.threads)
    answer, truth = reranker(source, store, found), reranker(source, store, exact)
    seconds = interleaved({"rerank": lambda _: reranker(source, store, found)}, options.repeats)["rerank"]
    return {
        f"superglobal on the first {HEAD}, ms": round(1000 * seconds / QUERIES, 2),
        f"of its first {TOP_K} also after exact search": round(
            recall(answer.indices[:, :TOP_K], truth.indices[:, :TOP_K]), 4
        ),
    }


def row(options: Options) -> dict:
    """Measures per query."""
    store, queries = data(options)
    folder = options.folder / f"search_{options.rows}_{KIND}"
    index = build_index(store, folder, KIND)
    memory = resident(partial(search_folder, folder, queries))
    exact, found = search(queries, store.global_descriptors, HEAD), index.search(queries, HEAD)
    nearest = index.search(queries, TOP_K)
    seconds = interleaved(
        {
            "ours": lambda _: index.search(queries, TOP_K),
            "reference": lambda _: search(queries, store.global_descriptors, TOP_K),
            "bound": least_products(queries, IvfPq(), options.rows, options.threads),
        },
        options.repeats,
    )
    alone = interleaved(
        {
            "ours": lambda turn: index.search(queries[turn % QUERIES][None], TOP_K),
            "exact": lambda turn: search(queries[turn % QUERIES][None], store.global_descriptors, TOP_K),
        },
        options.repeats,
    )
    files = index.manifest.files
    notes = {
        "rows": options.rows,
        "index": index.manifest.index,
        f"recall@{TOP_K}": round(recall(nearest.indices, exact.indices[:, :TOP_K]), 4),
        "one query alone, ms": round(1000 * alone["ours"], 2),
        "exact search of one query alone, ms": round(1000 * alone["exact"], 1),
        "resident memory with mapped files, MB": in_words(memory),
        "index, MB": round(files["index.faiss"] / 1e6),
        "descriptors beside it, MB": round(files["descriptors.npy"] / 1e6),
        "built in, s": round(index.manifest.seconds, 1),
        **two_stages(queries, store, exact, found, options),
    }
    per_query = {name: value / QUERIES for name, value in seconds.items()}
    return {"name": "search_1m_index", "unit": f"query of {QUERIES}", **per_query, "notes": notes}
