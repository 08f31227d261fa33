"""SuperGlobal reranking against the released code, stage by stage, and against the paper's variant."""

import numpy as np
import pytest

from matching.indexes.table import search
from matching.rerankers.superglobal import SuperGlobal
from tests.golden.conftest import largest_difference
from tests.matching.helpers import global_source

TOLERANCE = 2e-6
CASES_OF = "superglobal_rerank"


def build(case: dict[str, np.ndarray], against: str = "refined") -> SuperGlobal:
    m, k, beta = case["params"]
    return SuperGlobal(int(m), int(k), float(beta), expanded_against=against)


def test_the_stages(case, measured):
    reranker = build(case)
    first_stage = search(case["Q"], case["X"])
    np.testing.assert_array_equal(first_stage.indices, case["ranks0"])
    for q, query in enumerate(case["Q"]):
        rows = first_stage.row(q)[: reranker.top_k]
        first, expanded, second = reranker.stages(query, case["X"][rows])
        order = np.array([int(np.flatnonzero(rows == image)[0]) for image in case["ids_s1"][q]])
        name = "SuperGlobal reranking"
        measured(f"{name}: similarity to the query", largest_difference(first, case["s1"][q]), TOLERANCE)
        measured(f"{name}: similarity to the query", largest_difference(first[order], case["s1_sorted"][q]), TOLERANCE)
        measured(f"{name}: expanded query", largest_difference(expanded, case["expanded_query"][q]), TOLERANCE)
        measured(f"{name}: similarity to it", largest_difference(second[order], case["s2"][q]), TOLERANCE)


@pytest.mark.parametrize(("against", "prefix"), [("refined", ""), ("original", "paper_variant_")])
def test_scores_and_places(case, against, prefix, measured):
    """Places are equal, but for images whose scores are too close to call; the tail keeps its order."""
    reranker = build(case, against)
    answer = reranker(global_source(case["Q"]), global_source(case["X"]), search(case["Q"], case["X"]))
    m = min(reranker.top_k, len(case["X"]))
    expected, scores = case[f"{prefix}ranks"], case[f"{prefix}score_sorted"]
    stage = "SuperGlobal reranking: scores" + (" (paper's variant)" if prefix else "")
    measured(stage, largest_difference(answer.scores[:, :m], scores), TOLERANCE)
    np.testing.assert_array_equal(answer.indices[:, m:], expected[:, m:])
    for row, ids, values in zip(answer.indices, expected, scores):
        for place in np.flatnonzero(row[:m] != ids[:m]):
            assert row[place] in ids[:m][np.abs(values - values[place]) < TOLERANCE]
