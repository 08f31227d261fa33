"""Exact search of a million descriptors in a float16 file, a hundred queries at once.

The reference takes each query alone: all similarities, then a full sort. The bound is the float32 product of the
queries with as many rows as there are, which lie in memory as float32.
"""

from functools import partial
from pathlib import Path

import numpy as np

from matching.indexes.table import search
from scripts.bench.measure import Options, check, interleaved
from scripts.bench.search_data import BLOCK, QUERIES, TOP_K, Floats, data, in_words, literal, resident

ALONE = 3  # queries of a reference round


def search_file(path: Path, queries: Floats) -> None:
    """The search alone, for its memory."""
    search(queries, np.load(path, mmap_mode="r"), TOP_K)


def row(options: Options) -> dict:
    """Measures per query."""
    store, queries = data(options)
    database = store.global_descriptors
    memory = resident(partial(search_file, options.folder / f"search_{options.rows}.npy", queries))
    answer = search(queries, database, TOP_K)
    expected = [literal(query, database) for query in queries[:ALONE]]
    same = np.mean([np.isin(found, true).mean() for found, true in zip(answer.indices, expected)])
    check(same > 0.999, "the rows of ours and of the literal form")  # sums in another order may swap the last
    block = np.array(database[:BLOCK], np.float32)

    def product(_: int) -> None:
        for start in range(0, len(database), BLOCK):
            queries @ block[: len(database) - start].T

    seconds = interleaved(
        {
            "ours": lambda _: search(queries, database, TOP_K),
            "reference": lambda turn: [literal(queries[(turn + i) % QUERIES], database) for i in range(ALONE)],
            "bound": product,
        },
        options.repeats,
    )
    notes = {
        "rows": len(database),
        "resident memory with the mapped file, MB": in_words(memory),
        "file, MB": round(database.nbytes / 1e6),
    }
    work = {"ours": QUERIES, "reference": ALONE, "bound": QUERIES}
    per_query = {name: value / work[name] for name, value in seconds.items()}
    return {"name": "search_1m_exact", "unit": f"query of {QUERIES}", **per_query, "notes": notes}
