"""How an extractor is built from a model folder or from text."""

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.files import json_sha256, read_json, sha256, write_json
from extraction.config import ExtractionConfig
from extraction.extractors.delg import DelgExtractor, model_digest
from extraction.extractors.table import build_extractor
from extraction.formats.checks import differing
from tests.extraction.pictures import picture
from tests.tiny import BACKBONE

IMAGE = picture(90, 120, seed=3)


@pytest.fixture(scope="module")
def model():
    return delg.create("delg_small", backbone=BACKBONE, embedding_dim=16, local_dim=8, attention_channels=8)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    delg.save(model, place)
    return place


def test_options_of_the_model_and_defaults_beneath_the_text(folder):
    assert build_extractor(str(folder), image_scales=[1.0]).settings["global_scales_ind"] == [0]
    released = {"keypoints": "released"}
    assert build_extractor(str(folder), defaults=released).settings["keypoints"] == "released"
    assert build_extractor(str(folder), defaults=released, keypoints="centre").settings["keypoints"] == "centre"
    text = f'delg(model="{folder}", keypoints="centre")'
    assert build_extractor(text, defaults=released).settings["keypoints"] == "centre"
    assert "keypoints" not in build_extractor("rootsift", defaults=released).settings
    with pytest.raises(InputError, match=r"score_threshold expects a finite number\. Received: nan"):
        build_extractor(str(folder), score_threshold=float("nan"))


def test_a_model_folder_with_its_defaults_and_overrides(folder, model):
    one = build_extractor(str(folder))
    assert one.settings["weights_sha256"] == sha256(folder / "model.weights.h5")
    for key in ("image_scales", "global_scales_ind", "max_image_size", "max_feature_num"):
        assert one.settings[key] == model.extraction[key]
    assert one.settings["keypoints"] == "centre"
    assert one.settings["antialias"] is False
    assert one.settings["score_threshold"] is None
    other = build_extractor(str(folder), image_scales=[1.0], global_scales_ind=[0], keypoints="released")
    assert other.settings["image_scales"] == [1.0]
    assert other.settings["keypoints"] == "released"
    same = DelgExtractor(model, ExtractionConfig((1.0,), (0,), max_image_size=384))(IMAGE, "x").global_descriptor
    np.testing.assert_allclose(other(IMAGE, "x").global_descriptor, same, atol=1e-6)


def test_the_model_behind_the_weights_is_recorded(folder, tmp_path):
    document = read_json(folder / "config.json")
    (tmp_path / "model.weights.h5").write_bytes((folder / "model.weights.h5").read_bytes())

    def settings(**change):
        write_json(tmp_path / "config.json", document | {"model": document["model"] | change})
        return build_extractor(str(tmp_path), image_scales=[1.0], global_scales_ind=[0]).settings

    first = settings()
    other = settings(pooling="gem(p=2.0)")
    assert differing(first, other) == [f"model_sha256 ({first['model_sha256']!r} and {other['model_sha256']!r})"], (
        "the same weights with another pooling"
    )
    assert model_digest({"a": 1, "b": [2]}) == model_digest({"b": (2,), "a": 1, "num_classes": 3, "extraction": {}})
    assert model_digest({"a": 1}) != model_digest({"a": 2})


def test_untrained_is_fresh_and_repeatable_by_seed(folder):
    text = f'untrained(model="{folder}", seed={{}})'
    first, again, other = (build_extractor(text.format(seed)) for seed in (1, 1, 2))
    trained = build_extractor(str(folder))
    a, b, c, d = (np.asarray(one.model.embedding_layer.kernel) for one in (first, again, other, trained))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3
    assert np.abs(a - d).max() > 1e-3
    config = json_sha256(read_json(folder / "config.json")["model"])
    assert first.settings["weights_sha256"] == f"untrained:seed=1:{config}"
    assert first.settings != other.settings
    for seed in ("'x'", -1, 2**32, True, 1.0):
        with pytest.raises(InputError, match="seed expects a whole number"):
            build_extractor(text.format(seed))


@pytest.mark.parametrize("text", ["{}", 'delg(model="{}")', 'untrained(model="{}")'])
def test_an_unknown_option_is_answered_with_the_choices(folder, text):
    with pytest.raises(
        InputError, match=r"size.*its arguments are model,.* image_scales, global_scales_ind,.*gem_plus"
    ):
        build_extractor(text.format(folder), size=3)


def test_the_folder_is_required():
    with pytest.raises(InputError, match="'model'"):
        build_extractor("delg(gem_plus=True)")


def test_a_folder_without_a_model_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="not a model folder"):
        build_extractor(str(tmp_path))
    with pytest.raises(InputError, match="not a model folder"):
        build_extractor('untrained(model="nowhere")')
