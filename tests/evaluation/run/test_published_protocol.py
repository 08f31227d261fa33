"""What a claim to be a published model is compared with."""

from dataclasses import replace

import pytest

from delg.common.errors import InputError
from evaluation.run.published_protocol import Claim, protocol_of, with_published
from evaluation.run.published_values import MODELS
from tests.evaluation.options import Config
from tests.evaluation.run.test_compatibility import MADE, given, refused_or_told, run
from tests.evaluation.tiny import revisited_set

BASE = MADE | {"extractor": "delg"}
LOCAL = BASE | {
    "image_scales": [0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0],
    "global_scales_ind": [3, 4, 5],
    "max_feature_num": 1000,
    "score_threshold": 175.0,
    "keypoints": "released",
}
DELG = Claim({"S": LOCAL}, True, "remove_before_rerank", {"ransac": "ransac"})
SWITCHES = {"gem_plus": True, "regional_gem": True, "relup": True, "scale_rule": "superglobal"}
GLOBAL = BASE | SWITCHES | {"max_image_size": -1, "scale_pooling": "scale_gem"}
SUPERGLOBAL = Claim({"S": GLOBAL}, False, "keep", {"superglobal": "superglobal"})


@pytest.fixture
def config(tmp_path):
    folder = revisited_set(tmp_path / "set", "roxford5k")
    return Config("roxford5k", str(folder), output_dir=str(tmp_path / "out"), rerank=())


def of(model, claim, benchmark="roxford5k"):
    return with_published(model, benchmark, claim)


def test_the_released_protocols_pass():
    assert of("delg_r50_gldv1", DELG) == of("superglobal_r101", SUPERGLOBAL) == of(None, DELG) == []
    assert of("superglobal_r101", SUPERGLOBAL, "roxford5k+r1m") == []
    for model in MODELS:
        assert protocol_of(model).features["global_scales"] == [0.7071, 1.0, 1.4142]


@pytest.mark.parametrize("key", ["max_feature_num", "score_threshold", "scale_pooling", "max_image_size"])
def test_what_is_not_recorded_is_no_agreement(key):
    lacking = {name: value for name, value in LOCAL.items() if name != key}
    (said,) = of("delg_r50_gldv1", replace(DELG, features={"S": lacking}))
    assert said.startswith(f"The published delg_r50_gldv1 was run with {key}=") and said.endswith("(S records none).")


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (replace(DELG, features={"S": LOCAL | {"score_threshold": 1.0}}), "score_threshold=175.0 (S has 1.0)"),
        (replace(DELG, rerankers={"ransac": "ransac(top_k=50)"}), "top_k=100 (--rerank=ransac(top_k=50) has 50)"),
        (replace(DELG, junk="keep"), "--junk=remove_before_rerank (this run has keep)"),
        (
            replace(DELG, features={"S": {"extractor": "rootsift"}}, local=False),
            "global_scales=[0.7071, 1.0, 1.4142] (",
        ),
    ],
)
def test_what_differs_of_delg_is_said(claim, said):
    (found,) = of("delg_r50_gldv1", claim)
    assert f"The published delg_r50_gldv1 was run with {said}" in found


def test_what_differs_of_superglobal_is_said():
    other = replace(SUPERGLOBAL, junk="remove_before_rerank", rerankers={"superglobal": "superglobal(k=5)"})
    assert of("superglobal_r101", other) == [
        "The published superglobal_r101 was run with k=9 (--rerank=superglobal(k=5) has 5).",
        "The published superglobal_r101 was run with --junk=keep (this run has remove_before_rerank).",
    ]
    (said,) = of("superglobal_r101", replace(SUPERGLOBAL, features={"S": GLOBAL | {"relup": False}}))
    assert "relup=True (S has False)" in said


def test_rows_without_a_published_value_ask_for_nothing():
    """RParis6k has no published row with RANSAC, and of a first stage junk and local features are no matter."""
    assert of("delg_r50_gldv1", replace(DELG, junk="keep", rerankers={"ransac": "ransac(top_k=9)"}), "rparis6k") == []
    assert of("delg_r50_gldv1", replace(DELG, features={"S": BASE}, junk="keep", rerankers={})) == []


def test_a_run_with_a_claim_needs_its_protocol(config, tmp_path):
    config = given(config, tmp_path)
    assert "protocol_mismatch" not in run(replace(config, published="delg_r50_gldv1")).settings
    claimed = replace(config, published="superglobal_r101")
    message = r"superglobal_r101 was run with max_image_size=-1 \(.* has 1024\); scale_rule='superglobal' .*none\)\."
    refused_or_told(claimed, tmp_path, message)
    own = replace(config, query_features_dir=None, index_features_dir=None, model="rootsift(max_image_size=64)")
    with pytest.raises(InputError, match=r"max_image_size=1024 \(--model=rootsift.* 64\); scale_pooling=.*none\)"):
        run(replace(own, published="delg_r50_gldv1"))
    assert not (tmp_path / "out" / "features").exists(), "refused before any work"
