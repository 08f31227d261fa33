"""SuperGlobal's reranking of 70 queries on 4993 x 2048 descriptors, against a literal transcription of its steps.

The bound is the full product of the candidates' descriptors with themselves in float32, M x M x D for every query,
on all cores, and nothing else. Ours computes that product by symmetry, at half the cost, so it may stay below.
"""

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features, Floats
from matching.indexes.table import search
from matching.ranking import Ranking
from matching.rerankers.superglobal import SuperGlobal
from matching.source import MemorySource
from scripts.bench.measure import Options, added_memory, check, interleaved, on_all_cores

QUERIES, DATABASE, DIMENSION = 70, 4993, 2048
M, K, BETA = 400, 9, 0.15
MEMBERS = 10  # images of one place
TOLERANCE = 2e-6  # scores that are nearer may change places: float32 products are rounded differently


def descriptors(queries: int, database: int, dimension: int) -> tuple[Floats, Floats]:
    """Places of ten images each: centre plus noise of equal norm, normalised; queries likewise."""
    rng = np.random.default_rng(0)

    def unit(rows: NDArray[np.floating]) -> Floats:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    centres = unit(rng.normal(size=(database // MEMBERS + 1, dimension)))
    of_database = np.arange(database) // MEMBERS
    of_queries = rng.integers(0, len(centres), queries)
    found = [
        unit(centres[places] + unit(rng.normal(size=(len(places), dimension)))) for places in (of_queries, of_database)
    ]
    return found[0], found[1]


def source(rows: Floats) -> MemorySource:
    """Images with these global descriptors."""
    return MemorySource([Features(str(i), (1, 1), row) for i, row in enumerate(rows)])


def literal(query: Floats, database: Floats, order: NDArray[np.int64], m: int) -> tuple[NDArray[np.int64], Floats]:
    """The released steps for one query, as they are written: full sorts, and the gather of M x (K + 1) x D."""
    head = database[order[:m]]
    similarities = head @ head.T
    nearest = np.argsort(-similarities, axis=1)[:, : K + 1]
    weights = BETA * np.take_along_axis(similarities, nearest, axis=1)
    weights[:, 0] = 1
    gathered = head[nearest]
    refined = (weights[:, :, None] * gathered).sum(1) / weights.sum(1, keepdims=True)
    first = refined @ query
    best = np.argsort(-first)
    expanded = refined[best[: K + 1]].max(0)
    scores = (first + refined @ expanded) / 2
    new = np.argsort(-scores)
    return np.concatenate([order[:m][new], order[m:]]), scores[new]


def same(answer: Ranking, expected: list[tuple[NDArray[np.int64], Floats]]) -> bool:
    """Whether rankings are identical but for images of equal score."""
    for row, scores, (order, values) in zip(answer.indices, answer.scores, expected):
        head = len(values)
        if np.abs(scores[:head] - values).max() > TOLERANCE or (row[head:] != order[head:]).any():
            return False
        place = {int(image): i for i, image in enumerate(order[:head])}
        if max(abs(values[place[int(image)]] - values[i]) for i, image in enumerate(row[:head])) > TOLERANCE:
            return False
    return True


def row(options: Options) -> dict:
    """Measures per query."""
    queries, database = descriptors(QUERIES, DATABASE, DIMENSION)
    sources = source(queries), source(database)
    first_stage = search(queries, database)
    reranker = SuperGlobal(M, K, BETA, threads=options.threads)

    def reference(_: int = 0) -> list[tuple[NDArray[np.int64], Floats]]:
        return [literal(query, database, order, M) for query, order in zip(queries, first_stage.indices)]

    answers: list[Ranking] = []
    memory = added_memory(lambda: answers.append(reranker(*sources, first_stage)))
    check(same(answers[0], reference()), "the rankings of ours and of the literal form")
    heads = [np.ascontiguousarray(database[order[:M]]) for order in first_stage.indices[:10]]
    others = [head.copy() for head in heads]  # NumPy would see the symmetry of head @ head.T

    def gram(q: int) -> Floats:
        return heads[q % 10] @ others[q % 10].T

    def symmetric(q: int) -> Floats:
        return heads[q % 10] @ heads[q % 10].T

    seconds = interleaved(
        {
            "ours": lambda _: reranker(*sources, first_stage),
            "reference": reference,
            "bound": lambda _: on_all_cores(gram, range(QUERIES), options.threads),
            "symmetric": lambda _: on_all_cores(symmetric, range(QUERIES), options.threads),
        },
        options.repeats,
    )
    per_query = {name: value / QUERIES for name, value in seconds.items()}
    notes = {
        "the products by symmetry alone, ms": round(1000 * per_query.pop("symmetric"), 3),
        "ranking": "identical to the literal form, but for scores nearer than 2e-6",
        "added memory, MB": None if memory is None else round(memory / 1e6, 1),
    }
    return {"name": "superglobal_rerank", "unit": "query", **per_query, "notes": notes}
