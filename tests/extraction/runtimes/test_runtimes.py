"""The same features by every runtime, and how far lower precisions are from them."""

from functools import cache

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.files import read_json
from delg.exporting.openvino import openvino_model
from extraction.config import ExtractionConfig
from extraction.extractors.delg import DelgExtractor
from extraction.formats.checks import check_settings, differing
from extraction.images import ImageRef, list_images
from extraction.runtimes.openvino_runtime import OUTPUTS, in_order, without_transposes
from extraction.runtimes.table import PRECISIONS, RUNTIMES
from extraction.verification import Verification, twin_cosines, verify
from tests.extraction.pictures import picture, write_picture
from tests.processes import run
from tests.tiny import BACKBONE

SCALES, CHOSEN = (0.5, 1.0, 1.5), (1,)
IMAGE = picture(90, 120, seed=3)


@pytest.fixture(scope="module")
def model():
    model = delg.create("delg_small", backbone=BACKBONE, embedding_dim=16, local_dim=8, attention_channels=8)
    model.inference_model = cache(model.inference_model)
    return model


@pytest.fixture(scope="module")
def transformer():
    """An extractor by runtime, each made once; of a model whose positions are resized and whose tokens are ranked."""
    backbone = "dinov2(size=(24, 2, 2, 32, True), grid=4, registers=2)"
    model = delg.create("dinov2_small", backbone=backbone, pooling="class_token_gem")
    model.inference_model = cache(model.inference_model)
    return cache(lambda name: DelgExtractor(model, ExtractionConfig((1.0,), (0,), runtime=name, side_multiple=14)))


@pytest.fixture(scope="module")
def build(model):
    return cache(
        lambda runtime=None, precision="float32": DelgExtractor(
            model, ExtractionConfig(SCALES, CHOSEN, runtime=runtime, precision=precision, max_feature_num=10**6)
        )
    )


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_other_runtimes_give_the_same_features(build, runtime):
    pytest.importorskip(runtime)
    expected, found = build()(IMAGE, "x"), build(runtime)(IMAGE, "x")
    np.testing.assert_allclose(found.global_descriptor, expected.global_descriptor, atol=2e-6)
    assert len(found) == len(expected) > 100
    assert twin_cosines(found, expected).min() > 1 - 1e-5
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    smaller = picture(70, 50, seed=4)
    np.testing.assert_allclose(
        build(runtime)(smaller, "x").global_descriptor, build()(smaller, "x").global_descriptor, atol=2e-6
    )


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_transformer_gives_the_same_features_at_any_size(transformer, runtime):
    pytest.importorskip(runtime)
    extractors = [transformer(name) for name in (None, runtime)]
    for shape in ((70, 50), (90, 120)):
        expected, features = (extractor(picture(*shape, seed=4), "x") for extractor in extractors)
        assert len(features) == len(expected) == (shape[0] // 14) * round(shape[1] / 14 - 0.01)
        np.testing.assert_allclose(features.global_descriptor, expected.global_descriptor, atol=1e-5)
        assert twin_cosines(features, expected).min() > 1 - 1e-5


def test_openvino_transposes_the_input_alone_with_the_same_result(model):
    core = pytest.importorskip("openvino").Core()
    graph = openvino_model(model, model.head_names)
    image = np.random.default_rng(0).normal(size=(2, 70, 90, 3)).astype(np.float32)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    before = core.compile_model(graph, "CPU", options)([image])
    expected = {name: np.array(before[name]) for head in OUTPUTS for name in OUTPUTS[head]}
    moved = without_transposes(graph)
    assert [node.get_type_name() for node in graph.get_ops()].count("Transpose") == 1
    assert moved == {"local_descriptors": (0, 2, 3, 1)}
    after = core.compile_model(graph, "CPU", options)([image])
    for name, values in expected.items():
        np.testing.assert_allclose(in_order(after[name], moved.get(name)), values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("runtime", ["tensorflow", "openvino"])
def test_bfloat16_is_near_float32_and_not_equal(build, runtime):
    pytest.importorskip(runtime)
    try:
        found = build(runtime, "bfloat16")(IMAGE, "x")
    except InputError as error:
        pytest.skip(str(error))
    expected = build()(IMAGE, "x")
    assert 1e-7 < 1 - float(found.global_descriptor @ expected.global_descriptor) < 1e-3
    assert found.global_descriptor.dtype == found.descriptors.dtype == found.scores.dtype == np.float32
    cosines = twin_cosines(found, expected)
    assert len(cosines) == len(expected)
    assert np.percentile(cosines, 1) > 0.99


def test_the_precision_is_recorded_and_must_agree_the_runtime_may_differ(build):
    plain, other = build().settings, build("openvino").settings
    assert (plain["runtime"], plain["precision"]) == ("tensorflow", "float32")
    assert [line.split()[0] for line in differing(plain, other)] == ["runtime"]
    check_settings(plain, other, "These")
    with pytest.raises(InputError, match=r"precision \('float32' and 'bfloat16'\)"):
        check_settings(plain, build("openvino", "bfloat16").settings, "These")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runtime": "tensorrt"}, "tensorflow, jax, torch, openvino, onnxruntime"),
        ({"precision": "float8"}, ", ".join(PRECISIONS)),
        ({"runtime": "onnxruntime", "precision": "bfloat16"}, "in float32, not in bfloat16"),
        ({"precision": "int8"}, "openvino does"),
    ],
)
def test_names_that_do_not_exist_or_go_together(options, said):
    with pytest.raises(InputError, match=said):
        ExtractionConfig(SCALES, CHOSEN, **options)


def test_another_backend_and_a_missing_extra_are_sentences(model, monkeypatch):
    with pytest.raises(InputError, match="KERAS_BACKEND=jax"):
        DelgExtractor(model, ExtractionConfig(SCALES, CHOSEN, runtime="jax"))
    for runtime, extra in (("openvino", "openvino"), ("onnxruntime", "onnx")):
        monkeypatch.setitem(__import__("sys").modules, runtime, None)
        with pytest.raises(InputError, match=rf"pip install '\.\[{extra}\]'"):
            DelgExtractor(model, ExtractionConfig(SCALES, CHOSEN, runtime=runtime))(IMAGE, "x")
    assert set(RUNTIMES) == {"tensorflow", "jax", "torch", "openvino", "onnxruntime"}


def test_verify(build, tmp_path):
    for i in range(3):
        write_picture(tmp_path / f"{i}.png", 60, 80, seed=i)
    (tmp_path / "bad.png").write_text("no image")
    images = list_images(tmp_path)
    same = verify(build(), build(), images, 2)
    assert (same.images, same.twins) == (2, 1.0)
    assert abs(same.global_cosine - 1) < 1e-6 and abs(same.local_cosine - 1) < 1e-6
    assert str(same).startswith("verify: 2 images against float32: global cosine at least 1.0000")
    other = verify(build(precision="bfloat16"), build(), images, 9)
    assert other.images == 3
    assert other.global_cosine < same.global_cosine and other.local_cosine < same.local_cosine
    with pytest.raises(InputError, match="nothing to verify"):
        verify(build(), build(), [ImageRef("a", "absent.png")], 2)
    assert "no features" in str(Verification(1, None, None, None))


@pytest.mark.slow
def test_the_command_verifies_before_it_extracts(folder):
    flags = ["--images_dir=photos", "--model=model", "--output_dir=o", "--precision=bfloat16"]
    done = run("extract", *flags, "--verify=2", cwd=folder)
    assert done.returncode == 0, done.stderr
    verified, summary = done.stdout.splitlines()
    assert verified.startswith("verify: 2 images against float32: global cosine at least 0.9")
    assert summary.startswith("o: 3 images, 1 skipped: bad")
    assert read_json(folder / "o" / "manifest.json")["settings"]["precision"] == "bfloat16"
    done = run("extract", "--images_dir=photos", "--model=rootsift", "--output_dir=p", "--verify=2", cwd=folder)
    assert done.returncode == 1 and "--verify" in done.stderr and "rootsift" in done.stderr
