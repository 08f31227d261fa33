"""The mixing of global similarity and score of a pair against the loop that was released with ELViS and AMES."""

import json

import numpy as np
import pytest

from matching.ranking import Ranking
from matching.rerankers.base import reranked
from matching.rerankers.mixing import mixed
from tests.golden.conftest import SECOND, golden_path, load_golden


@pytest.mark.parametrize("protocol", ["medium", "hard"])
@pytest.mark.parametrize("case", ["half", "ames_dinov2", "all", "no_junk"])
def test_places_of_the_released_loop(case, protocol, request):
    """Junk, and for ``hard`` easy images, lie behind all others before the first ``top_k`` are reranked."""
    fields = load_golden(request.config, "rerankers", SECOND)
    text = golden_path(request.config, "rerankers.json", SECOND).read_text(encoding="utf-8")
    settings = json.loads(text)["cases"][f"mixing/{case}"]
    first = Ranking(
        fields[f"mixing/{case}/global_indices"].astype(np.int64), fields[f"mixing/{case}/global_similarities"]
    )
    for q, expected in enumerate(fields[f"mixing/{case}/ranks_{protocol}"]):
        truth = settings["gnd"][q] if settings["gnd"] else {"junk": [], "easy": []}
        last = truth["junk"] + (truth["easy"] if protocol == "hard" else [])
        order = np.argsort(np.isin(first.indices[q], last), kind="stable")
        rows, similarities = first.indices[q][order], first.scores[q][order]
        head = slice(settings["top_k"])
        raw = fields[f"mixing/{case}/raw"][q][rows[head]]
        scores = mixed(similarities[head], raw, settings["lamb"], settings["temp"])
        answer = reranked(Ranking(rows[None], similarities[None]), [scores])
        np.testing.assert_array_equal(answer.row(0), expected)
