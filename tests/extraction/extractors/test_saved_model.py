"""SavedModels of TensorFlow 1 and 2 with the released names, made here by rule, through the released pipeline."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from delg.common.errors import InputError
from extraction.extractors.saved_model import SavedModelExtractor
from extraction.extractors.saved_model_runner import digest, is_saved_model, load_runner
from extraction.extractors.table import build_extractor
from extraction.formats.official_writer import extract_official
from extraction.images import BadImageError, ImageRef, load_image
from extraction.pca import Pca, Projections
from extraction.resize import TooSmallError
from protos.local_features import read_local
from tests import processes
from tests.extraction.pictures import picture, write_picture
from tests.extraction.tensorflow_models import KERNEL, SCALES, STEP, expected, write_tf1, write_tf2

IMAGE = picture(60, 80, seed=5)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(write_tf1(tmp_path_factory.mktemp("tf1") / "model"))


def test_a_model_of_tensorflow_1_by_its_tensors(folder):
    runner = load_runner(folder)
    assert runner.signature == "tensors"
    assert runner.inputs == (
        "input_image",
        "input_scales",
        "input_abs_thres",
        "input_max_feature_num",
        "input_global_scales_ind",
    )
    assert runner.outputs == ("boxes", "features", "scales", "scores", "global_descriptors")
    extractor = SavedModelExtractor(folder, image_scales=SCALES, global_scales_ind=[0, 1], max_feature_num=30)
    features, raw = extractor(IMAGE, "x"), expected(IMAGE, limit=30)
    assert (features.name, features.image_size, len(features)) == ("x", (80, 60), 30)
    np.testing.assert_allclose(features.keypoints[:, ::-1], raw["boxes"][:, :2] + 20 / SCALES_OF(raw), atol=1e-4)
    np.testing.assert_allclose(features.descriptors, unit(raw["features"]), atol=1e-6)
    np.testing.assert_allclose(features.scores, raw["scores"][:, 0], rtol=1e-6)
    np.testing.assert_array_equal(features.scales, raw["scales"])
    total = unit(raw["global_descriptors"]).sum(0)
    np.testing.assert_allclose(features.global_descriptor, unit(total), atol=1e-6)
    assert np.abs(unit(raw["global_descriptors"].sum(0)) - unit(total)).max() > 1e-7, "normalised before the sum"


def SCALES_OF(raw):  # factors of the features' scales
    return (1 / raw["scales"])[:, None]


def test_threshold_and_scales_reach_the_graph(folder):
    options = {"image_scales": [1.0, 0.5, 0.25], "global_scales_ind": [2]}
    features = SavedModelExtractor(folder, score_threshold=60.0, **options)(IMAGE, "x")
    raw = expected(IMAGE, [1.0, 0.5, 0.25], threshold=60.0, chosen=[2])
    np.testing.assert_allclose(features.scores, raw["scores"][:, 0], rtol=1e-6)
    assert 0 < len(features) < len(SavedModelExtractor(folder, **options)(IMAGE, "x"))
    np.testing.assert_allclose(features.global_descriptor, unit(raw["global_descriptors"][0]), atol=1e-6)
    none = SavedModelExtractor(folder, score_threshold=1e6, **options)(IMAGE, "x")
    assert (none.keypoints.shape, none.descriptors.shape) == ((0, 2), (0, 2))
    assert none.global_descriptor.shape == (2,)


def test_the_image_is_resized_first_and_keypoints_go_back(folder):
    image = picture(61, 80, seed=5)
    small = np.asarray(Image.fromarray(image).resize((40, 30), Image.Resampling.BILINEAR))  # 30.5 to even
    options = {"image_scales": [1.0], "global_scales_ind": [0], "max_image_size": 40}
    features, raw = SavedModelExtractor(folder, **options)(image, "x"), expected(small, [1.0], chosen=[0])
    centres = raw["boxes"][:, :2] + 20
    np.testing.assert_allclose(features.keypoints, np.column_stack([centres[:, 1] * 2, centres[:, 0] * 61 / 30]))
    np.testing.assert_array_equal(features.scales, raw["scales"])
    np.testing.assert_allclose(features.scores, raw["scores"][:, 0], rtol=1e-6)
    assert features.image_size == (80, 61)
    cropped = SavedModelExtractor(folder, **(options | {"max_image_size": 80}))(image, "x", resize_factor=0.5)
    np.testing.assert_array_equal(cropped.keypoints, features.keypoints)
    larger = SavedModelExtractor(folder, **(options | {"max_image_size": -1}), min_image_size=160)(image, "x")
    assert len(larger) == (122 // STEP) * (160 // STEP)


@pytest.mark.parametrize("part", ["local", "global"])
def test_models_of_one_head(part, tmp_path):
    local = ("boxes", "features", "scales", "scores")
    write_tf1(tmp_path / "model", local if part == "local" else ("global_descriptors",))
    chosen = {} if part == "local" else {"global_scales_ind": [0]}
    extractor = SavedModelExtractor(str(tmp_path / "model"), image_scales=SCALES, **chosen)
    assert extractor.heads == (part,)
    features = extractor(IMAGE, "x")
    assert (len(features) > 0) == (part == "local")
    assert features.global_descriptor.shape == ((0,) if part == "local" else (2,))
    assert (extractor.settings["global_scales_ind"] is None) == (part == "local")
    assert (extractor.settings["max_feature_num"] is None) == (part == "global")
    refused = {"global_scales_ind": [0]} if part == "local" else {"max_feature_num": 9}
    with pytest.raises(InputError, match="has no effect on this SavedModel: it has no input input_"):
        SavedModelExtractor(str(tmp_path / "model"), image_scales=SCALES, **refused)


def test_keypoints_in_pixels_of_the_resized_image(folder, tmp_path):
    """As the released extractor: ``if not use_resized_coordinates: locations /= scale_factors``."""
    options = {"image_scales": SCALES, "global_scales_ind": [0, 1], "max_feature_num": 30, "max_image_size": 64}
    plain = SavedModelExtractor(folder, **options)(IMAGE, "x")
    extractor = SavedModelExtractor(folder, **options, use_resized_coordinates=True)
    small = np.asarray(Image.fromarray(IMAGE).resize((64, 48), Image.Resampling.BILINEAR))
    raw, features = expected(small, limit=30), extractor(IMAGE, "x")
    locations = raw["boxes"][:, :2] + 20 / SCALES_OF(raw)
    np.testing.assert_allclose(features.keypoints[:, ::-1], locations, atol=1e-4)
    np.testing.assert_allclose(plain.keypoints[:, ::-1], locations / [48 / 60, 64 / 80], atol=1e-4)
    assert np.abs(plain.keypoints - features.keypoints).max() > 1 and extractor.settings["use_resized_coordinates"]
    write_picture(tmp_path / "jpg" / "a.png", 60, 80, seed=5)
    ref = ImageRef("a", str(tmp_path / "jpg" / "a.png"), (8.0, 6.0, 80.0, 60.0))
    assert extract_official(extractor, [ref], tmp_path / "out", progress=False) == []
    image, whole, _ = load_image(ref)
    expected_of_crop = extractor(image, "a", resize_factor=max(image.shape) / max(whole))
    written = read_local(tmp_path / "out" / "a.delg_local")
    np.testing.assert_array_equal(written.locations[:, ::-1], expected_of_crop.keypoints)


def test_heads_that_are_not_wanted_and_squares(folder):
    options = {"image_scales": SCALES, "global_scales_ind": [0, 1], "max_feature_num": 30}
    extractor = SavedModelExtractor(folder, **options, use_square_images=True)
    assert extractor.heads == ("global", "local")
    square = np.asarray(Image.fromarray(IMAGE).resize((80, 80), Image.Resampling.BILINEAR))
    raw, features = expected(square, limit=30), extractor(IMAGE, "x")
    np.testing.assert_allclose(features.scores, raw["scores"][:, 0], rtol=1e-6)
    centres = raw["boxes"][:, :2] + 20 / SCALES_OF(raw)
    np.testing.assert_allclose(features.keypoints, centres[:, ::-1] * [1, 60 / 80], atol=1e-4)
    assert extractor.settings["use_square_images"] is True
    given = []
    call = extractor.runner.call
    object.__setattr__(extractor.runner, "call", lambda fed: given.append(fed) or call(fed))
    extractor.heads = ("local",)
    found = extractor(IMAGE, "x")
    assert len(found) == 30 and found.global_descriptor.shape == (0,)
    assert given[0]["input_global_scales_ind"].numpy().tolist() == [0]
    extractor.heads = ("global",)
    assert len(extractor(IMAGE, "x")) == 0 and extractor(IMAGE, "x").global_descriptor.shape == (2,)


def test_scales_that_the_own_indices_do_not_fit(folder):
    assert SavedModelExtractor(folder, image_scales=[1.0]).settings["global_scales_ind"] == [0]
    assert SavedModelExtractor(folder, image_scales=[1.0] * 6).settings["global_scales_ind"] == [3, 4, 5]


def test_a_pooled_descriptor_of_fixed_scales(tmp_path):
    def mean(input_image):
        return {"global_descriptor": tf.reduce_mean(tf.cast(input_image, tf.float32), [0, 1])}

    write_tf2(tmp_path / "model", mean, tf.TensorSpec([None, None, 3], tf.uint8, name="input_image"))
    extractor = SavedModelExtractor(str(tmp_path / "model"))
    assert extractor.settings["signature"] == "serving_default"
    assert extractor.settings["image_scales"] is None and extractor.dimensions == {"global": 3}
    with pytest.raises(InputError, match="PCA of global descriptors expects 2 values; the model's have 3"):
        extractor.project(Projections(Pca(np.zeros(2), np.eye(2))))
    features = extractor(IMAGE, "x")
    np.testing.assert_allclose(features.global_descriptor, unit(IMAGE.mean((0, 1))), atol=1e-6)
    assert len(features) == 0
    with pytest.raises(InputError, match="image_scales has no effect"):
        SavedModelExtractor(str(tmp_path / "model"), image_scales=[1.0])


def test_small_images_and_graphs_that_fail_are_bad_images(folder):
    extractor = SavedModelExtractor(folder, image_scales=[1.0], global_scales_ind=[0])
    assert len(extractor(picture(10, 10), "x")) == 1
    with pytest.raises(TooSmallError, match="30 x 9 pixels after resizing"):
        extractor(picture(9, 30), "x")
    with pytest.raises(BadImageError, match="40 x 9 pixels"):
        SavedModelExtractor(folder, image_scales=[1.0], global_scales_ind=[0], max_image_size=40)(picture(18, 80), "x")
    with pytest.raises(BadImageError, match="fails on 80 x 60 pixels"):
        SavedModelExtractor(folder, image_scales=[0.001], global_scales_ind=[0])(IMAGE, "x")


def test_what_is_no_released_model_is_a_sentence(folder, tmp_path):
    with pytest.raises(InputError, match="is not a SavedModel"):
        SavedModelExtractor(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    assert is_saved_model(tmp_path)
    with pytest.raises(InputError, match="cannot be loaded as a SavedModel"):
        SavedModelExtractor(str(tmp_path))
    spec = tf.TensorSpec([None], tf.float32, name="x")
    write_tf2(tmp_path / "other", lambda x: {"y": x + 1}, spec)
    with pytest.raises(InputError, match=r"no released signature.*Found: serving_default\(x\) -> y"):
        SavedModelExtractor(str(tmp_path / "other"))
    write_tf1(tmp_path / "partial", ("boxes", "scores"))
    with pytest.raises(InputError, match=r"no released signature.*Found: no signature"):
        SavedModelExtractor(str(tmp_path / "partial"))
    shutil.copytree(folder, tmp_path / "damaged")
    next((tmp_path / "damaged" / "variables").glob("*.data-*")).unlink()
    with pytest.raises(InputError, match="cannot be loaded as a SavedModel"):
        SavedModelExtractor(str(tmp_path / "damaged"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_scales": [0.0]}, "image_scales expects"),
        ({"image_scales": []}, "image_scales expects"),
        ({"image_scales": 1.0}, "expect numbers"),
        ({"global_scales_ind": [7]}, "from 0 to 6"),
        ({"global_scales_ind": []}, "from 0 to 6"),
        ({"max_image_size": 0}, "max_image_size"),
        ({"min_image_size": 0}, "min_image_size expects 1 or more"),
        ({"max_feature_num": 0}, "max_feature_num"),
        ({"score_threshold": "high"}, "expect numbers"),
        ({"keypoints": "centre"}, "'released' only"),
        ({"scale_pooling": "best"}, "scale_pooling"),
        ({"crop_rule": "up"}, "crop_rule"),
    ],
)
def test_options_out_of_range_are_a_sentence(folder, options, said):
    with pytest.raises(InputError, match=said):
        SavedModelExtractor(folder, **options)


def test_defaults_are_the_released_ones_and_all_is_recorded(folder, tmp_path):
    settings = SavedModelExtractor(folder).settings
    assert settings["extractor"] == "saved_model"
    assert settings["image_scales"] == [0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0]
    assert settings["global_scales_ind"] == [3, 4, 5]
    assert (settings["max_image_size"], settings["min_image_size"]) == (1024, -1)
    assert (settings["max_feature_num"], settings["score_threshold"]) == (1000, None)
    assert settings["keypoints"] == "released"
    assert settings["weights_sha256"] == digest(folder)
    write_tf1(tmp_path / "other", kernel=KERNEL * 2)
    assert digest(tmp_path / "other") != digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README").touch()
    assert digest(tmp_path / "copy") == digest(folder)
    (tmp_path / "copy" / "saved_model.pb").write_bytes(b"")
    assert digest(tmp_path / "copy") != digest(folder)


def test_scales_that_an_export_recorded(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "own")
    (tmp_path / "own" / "assets.extra").mkdir()
    document = '{"image_scales": [1.0, 0.5], "global_scales_ind": [1], "max_image_size": 64, "relup": true}'
    (tmp_path / "own" / "assets.extra" / "extraction.json").write_text(document)
    settings = SavedModelExtractor(str(tmp_path / "own")).settings
    assert settings["image_scales"] == [1.0, 0.5]
    assert settings["max_image_size"] == 64
    assert settings["max_feature_num"] == 1000
    assert SavedModelExtractor(str(tmp_path / "own"), max_image_size=32).settings["max_image_size"] == 32
    (tmp_path / "own" / "assets.extra" / "extraction.json").write_text("[]")
    with pytest.raises(InputError, match="holds no extraction settings"):
        SavedModelExtractor(str(tmp_path / "own"))


def test_pca_and_the_way_scales_are_joined(folder):
    options = {"image_scales": SCALES, "global_scales_ind": [0, 1], "max_feature_num": 9}
    raw = expected(IMAGE, limit=9)
    largest = SavedModelExtractor(folder, scale_pooling="scale_gem", **options)(IMAGE, "x").global_descriptor
    np.testing.assert_allclose(largest, unit(unit(raw["global_descriptors"]).max(0)), atol=1e-6)
    extractor = SavedModelExtractor(folder, **options)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]], np.float32)
    extractor.project(Projections(Pca(np.full(2, 0.1, np.float32), turn), Pca(np.zeros(2, np.float32), turn[:1])))
    features = extractor(IMAGE, "x")
    rows = unit((unit(raw["global_descriptors"]) - 0.1) @ turn.T)
    np.testing.assert_allclose(features.global_descriptor, unit(rows.sum(0)), atol=1e-6)
    np.testing.assert_allclose(features.descriptors, np.sign(raw["features"] @ turn[:1].T), atol=1e-6)
    assert extractor.settings["local_pca"].startswith("1 ")


def test_a_folder_with_a_saved_model_is_chosen_by_its_path(folder):
    extractor = build_extractor(folder, image_scales=[1.0], global_scales_ind=[0], score_threshold=None)
    assert extractor.settings["extractor"] == "saved_model"
    by_name = build_extractor(f'saved_model(model="{folder}", score_threshold=60.0)')
    assert by_name.settings["score_threshold"] == 60.0


@pytest.mark.slow
def test_two_images_are_matched_by_the_command(folder, tmp_path):
    for name in ("a", "b"):
        Image.fromarray(IMAGE).save(tmp_path / f"{name}.png")
    done = processes.run("match", "a.png", "b.png", f"--model={folder}", cwd=tmp_path)
    assert "local features: " in done.stdout, done.stderr[-2000:]
    assert int(done.stdout.split("inliers: ")[1].split()[0]) > 10


def test_the_module_itself_needs_no_framework():
    code = "import sys, extraction.extractors.saved_model; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
