"""Released extraction configurations as options of our extractors."""

import numpy as np
import pytest

from delg.common.errors import InputError
from extraction.config import ExtractionConfig
from extraction.extractors.base import HEADS, HeadSelection, select_heads
from extraction.formats.official_config import read_request, to_config
from extraction.pca import Pca, Projections
from protos.arrays import write_datum
from protos.configs import write_config
from tests.extraction.pictures import Counting

DELG = """
model_path: "parameters/model"
image_scales: 0.25
image_scales: 0.35355338
image_scales: 0.5
image_scales: 0.70710677
image_scales: 1.0
image_scales: 1.4142135
image_scales: 2.0
delf_local_config {
  use_pca: false
  layer_name: "resnet_v1_50/block3"
  iou_threshold: 1.0
  max_feature_num: 1000
  score_threshold: 454.6
}
delf_global_config { use_pca: false image_scales_ind: 3 image_scales_ind: 4 image_scales_ind: 5 }
max_image_size: 1024
use_global_features: true
is_tf2_exported: true
"""
SCALES = [0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0]


def asked(folder, text):
    (folder / "config.pbtxt").write_text(text)
    return read_request(folder / "config.pbtxt")


def test_a_delg_configuration(tmp_path):
    found = asked(tmp_path, DELG)
    assert found.model == "parameters/model" and found.heads == HEADS and found.projections.settings == {}
    assert found.options == {
        "image_scales": SCALES,
        "global_scales_ind": [3, 4, 5],
        "max_image_size": 1024,
        "max_feature_num": 1000,
        "score_threshold": 454.6,
    }


def test_only_one_kind(tmp_path):
    found = asked(tmp_path, DELG + "use_local_features: false")
    assert found.heads == ("global",)
    assert found.options == {
        "image_scales": SCALES[3:6],
        "global_scales_ind": [0, 1, 2],
        "max_image_size": 1024,
    }
    found = asked(tmp_path, DELG.replace("use_global_features: true", "min_image_size: 64"))
    assert found.heads == ("local",)
    assert found.options["image_scales"] == SCALES and "global_scales_ind" not in found.options
    assert found.options["min_image_size"] == 64 and "use_square_images" not in found.options
    assert asked(tmp_path, DELG + "use_square_images: true").options["use_square_images"] is True


def test_resized_coordinates(tmp_path):
    text = DELG.replace("max_feature_num", "use_resized_coordinates: true max_feature_num")
    found = asked(tmp_path, text)
    assert found.options["use_resized_coordinates"] is True
    assert "use_resized_coordinates" not in asked(tmp_path, DELG).options
    assert "use_resized_coordinates" not in asked(tmp_path, text + "use_local_features: false").options
    settings = ExtractionConfig((1.0,), (0,), keypoints="released", use_resized_coordinates=True).settings()
    assert to_config(settings, "m", HEADS).delf_local_config.use_resized_coordinates
    plain = to_config(settings | {"use_resized_coordinates": False}, "m", HEADS)
    assert not plain.delf_local_config.HasField("use_resized_coordinates")  # unknown to older programs


def test_what_is_left_out(tmp_path):
    found = asked(tmp_path, "delf_local_config { use_pca: false }")
    assert found.model == "" and found.heads == ("local",)
    assert found.options == {"max_image_size": -1, "max_feature_num": 1000, "score_threshold": 100.0}
    text = "use_global_features: true image_scales: 0.5 image_scales: 1 delf_global_config { use_pca: false }"
    found = asked(tmp_path, f"{text} delf_local_config {{ use_pca: false }}")
    assert found.options["global_scales_ind"] == [0, 1]  # no index stands for all


PCA = 'pca_parameters { mean_path: "mean" projection_matrix_path: "rows" pca_dim: 2 %s}'


def test_pca_is_read_beside_the_configuration(tmp_path):
    mean, rows = np.array([0.5, 0.0, 0.0], np.float32), np.eye(3, dtype=np.float32)
    for name, array in (("mean", mean), ("rows", rows), ("variances", np.array([4.0, 1.0, 1.0]))):
        write_datum(tmp_path / name, array)
    whitening = 'use_whitening: true pca_variances_path: "variances" '
    text = f"use_global_features: true delf_local_config {{ {PCA % ''} }} delf_global_config {{ {PCA % whitening} }}"
    found = asked(tmp_path, text).projections
    x = np.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(found.of_local(x), Pca(mean, rows[:2])(x))
    np.testing.assert_allclose(found.of_global(x), Pca(mean, rows[:2], np.array([4.0, 1.0]))(x))
    assert asked(tmp_path, f"delf_local_config {{ {PCA % ''} }}").projections.of_global is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"delf_local_config asks for PCA \(use_pca is true .*lack mean_path, projection_matrix_path, pca_dim"),
        (
            f"delf_local_config {{ {PCA % 'use_whitening: true'} }}",
            "lack pca_variances_path",
        ),
        (f"delf_local_config {{ {PCA % ''} }}", "rows cannot be read"),
        (
            DELG.replace("delf_global_config { use_pca: false", "delf_global_config {"),
            "delf_global_config asks for PCA",
        ),
        (DELG.replace("image_scales_ind: 5", "image_scales_ind: 7"), r"image_scales_ind expects 0 to 6.*3, 4, 7"),
        ("use_local_features: false", "neither use_local_features nor use_global_features"),
        ("scales: 3", 'no field named "scales"'),
    ],
)
def test_mistakes_end_in_a_sentence(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        asked(tmp_path, text)


def test_settings_become_a_configuration(tmp_path):
    settings = {
        "extractor": "delg",
        "image_scales": SCALES,
        "global_scales_ind": [3, 4, 5],
        "max_image_size": 1024,
        "max_feature_num": 500,
        "score_threshold": None,
    }
    write_config(tmp_path / "c", to_config(settings, "my_model", HEADS))
    found = read_request(tmp_path / "c")
    assert found.model == "my_model" and found.heads == HEADS and not found.projections.settings
    assert found.options == {key: value for key, value in settings.items() if key != "extractor"} | {
        "score_threshold": 0.0
    }
    settings |= {"min_image_size": 32, "score_threshold": 0.1}
    write_config(tmp_path / "c", to_config(settings, "m", ("global",)))
    found = read_request(tmp_path / "c")
    assert found.options["min_image_size"] == 32 and found.heads == ("global",)
    assert to_config(settings, "m", HEADS).delf_local_config.score_threshold == pytest.approx(0.1)
    assert to_config(settings, "m", HEADS).is_tf2_exported and not to_config(settings, "m", HEADS).use_square_images
    assert to_config(settings | {"signature": "serving_default"}, "m", HEADS).is_tf2_exported
    assert not to_config(settings | {"signature": "tensors"}, "m", HEADS).is_tf2_exported
    assert to_config(settings | {"use_square_images": True}, "m", HEADS).use_square_images
    projects = Projections(Pca(np.zeros(2), np.eye(2))).settings
    for wrong in (settings | {"image_scales": None}, settings | projects):
        with pytest.raises(InputError, match="cannot be written as a DelfConfig"):
            to_config(wrong, "m", HEADS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale_rule", "cvnet"),
        ("scale_pooling", "scale_gem"),
        ("keypoints", "centre"),
        ("crop_rule", "truncate"),
        ("exif", "orientation applied"),
        ("antialias", True),
        ("gem_plus", True),
        ("normalize_pooled", True),
    ],
)
def test_what_a_configuration_cannot_say_is_refused(name, value):
    settings = ExtractionConfig((1.0,), (0,), keypoints="released").settings()
    assert to_config(settings, "m", HEADS).image_scales == [1.0]
    with pytest.raises(InputError, match=f"cannot express .*{name}"):
        to_config(settings | {name: value}, "m", HEADS)


class OneHead(Counting):
    heads = ("global",)


def test_heads_that_the_model_lacks():
    for wrong in (HEADS, ("local",)):
        with pytest.raises(InputError, match="local features"):
            select_heads(OneHead(), wrong)
    one = OneHead()
    assert select_heads(one, ("global",)) is one
    both = Counting()
    assert isinstance(select_heads(both, ("local",)), HeadSelection) and both.heads == ("local",)
