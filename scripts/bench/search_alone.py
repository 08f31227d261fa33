"""Exact search of one query alone in a float16 file.

The reference converts the rows and takes all similarities, then a full sort. The bound is one pass of all cores over
the bytes of the rows, which lie in the memory.
"""

import numpy as np
from numpy.typing import NDArray

from matching.indexes.table import search
from scripts.bench.measure import Options, check, interleaved, on_all_cores
from scripts.bench.search_data import QUERIES, TOP_K, data, literal


def row(options: Options) -> dict:
    """Measures one query."""
    store, queries = data(options)
    database = store.global_descriptors
    expected, answer = literal(queries[0], database), search(queries[:1], database, TOP_K)
    check(np.isin(answer.indices[0], expected).mean() > 0.98, "the rows of ours and of the literal form")
    words = np.array_split(database.view(np.uint64), options.threads)

    def read(part: NDArray[np.uint64]) -> None:
        np.bitwise_or.reduce(part, axis=None)

    seconds = interleaved(
        {
            "ours": lambda turn: search(queries[turn % QUERIES][None], database, TOP_K),
            "reference": lambda turn: literal(queries[turn % QUERIES], database),
            "bound": lambda _: on_all_cores(read, words, options.threads),
        },
        options.repeats,
    )
    notes = {"rows": len(database), "GB/s of ours": round(database.nbytes / seconds["ours"] / 1e9, 1)}
    return {"name": "search_alone", "unit": "query", **seconds, "notes": notes}
