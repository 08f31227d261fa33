"""What is written: batches, ONNX, weights, programs that have TensorFlow only, and the command."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import delg
from delg.common.errors import InputError
from delg.common.files import read_json
from delg.exporting.batch import batch_function
from delg.exporting.files import check_place, export_model
from delg.exporting.options import ExportOptions
from delg.importers.tensorflow_weights import read_checkpoint
from delg.superglobal import Switches, adapted
from tests import processes
from tests.delg.exported import (
    IMAGE,
    SCALES,
    Exporter,
    globally,
    model_with_both_heads,
    plain,
    run,
    signature,
    tiny,
    unwritten,
)


@pytest.fixture(scope="module")
def model():
    return model_with_both_heads()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return Exporter(model, tmp_path_factory.mktemp("exported"))


def test_batches_of_both_types(model, exported):
    folder = exported("batch")
    images = np.stack([IMAGE, IMAGE[::-1]])
    expected = model(model.normalize(images), training=False)
    call, floats = signature(folder), signature(folder, "serving_float")
    assert call.function.structured_input_signature[1]["images"].dtype == tf.uint8
    for found in (call(images=tf.constant(images)), floats(images=tf.constant(images, tf.float32))):
        assert set(found) == {"global_descriptor", "local_descriptors", "attention"}
        for key, value in found.items():
            np.testing.assert_allclose(value, np.asarray(expected[key]), atol=1e-5)
    unit = batch_function(model, ("global",), normalize=True)(tf.constant(images))
    assert set(unit) == {"global_descriptor"}
    np.testing.assert_allclose(np.linalg.norm(unit["global_descriptor"], axis=1), 1, atol=1e-5)


def test_only_the_used_weights_are_written_at_their_released_places(model, exported):
    def written(kind):
        keys, stored = read_checkpoint(exported(kind) / "variables" / "variables")
        values = {v.path: stored[keys.found(v.path)].read() for v in model.weights if keys.found(v.path)}
        assert len(values) == len(keys.weights()), "nothing else is there"
        return values

    values = written("local_and_global")
    trained = {v.path for v in model.weights if not v.path.startswith(("classifier", "att_fc"))}
    assert set(values) == trained
    for variable in model.weights:
        if variable.path in values:
            np.testing.assert_array_equal(values[variable.path], np.asarray(variable.value))
    left_out = ("embedding_layer", "conv3", "bn_conv3")
    assert set(written("local")) == {path for path in trained if not path.startswith(left_out)}


def test_a_model_without_a_local_head(tmp_path):
    model = tiny(embedding_dim=6, local_head=None)
    with pytest.raises(InputError, match="has no local head; expected the kind global, batch or onnx"):
        export_model(model, ExportOptions(kind="local_and_global"), tmp_path / "x")
    assert not (tmp_path / "x").exists()
    export_model(model, ExportOptions(kind="batch"), tmp_path / "x")
    assert set(signature(tmp_path / "x").function.structured_outputs) == {"global_descriptor"}
    np.testing.assert_allclose(
        run(globally(unwritten(model, kind="global")))["global_descriptors"],
        [plain(model, SCALES[i])["global_descriptor"] for i in (0, 2)],
        atol=1e-5,
    )


def test_the_switches_of_the_models_extraction_are_in_the_export(tmp_path):
    switched = {"gem_plus": True, "regional_gem": True, "scale_rule": "superglobal", "image_scales": [1.0]}
    model = tiny(embedding_dim=6, local_head=None, extraction=switched | {"global_scales_ind": [0]})
    lines = export_model(model, ExportOptions(kind="global"), tmp_path / "x")
    assert lines == [
        f"{tmp_path / 'x'}: serving_default(input_image uint8 (None, None, 3), input_scales float32 (None,), "
        "input_global_scales_ind int32 (None,)) -> global_descriptors"
    ]
    call = globally(signature(tmp_path / "x"))
    image = IMAGE[:61, :61]
    found = run(call, image, scales=[1.0, 0.99], chosen=[0, 1])["global_descriptors"]
    other = adapted(model, Switches(gem_plus=True, regional_gem=True))
    assert other is not model
    cut = tf.image.resize(other.normalize(image[None]), [60, 60])  # 60.39; rounding gives the same
    expected = [other(other.normalize(image[None]))["global_descriptor"][0], other(cut)["global_descriptor"][0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    down = run(call, image, scales=[0.96], chosen=[0])["global_descriptors"]  # 58.56
    cut = tf.image.resize(other.normalize(image[None]), [58, 58])
    np.testing.assert_allclose(down, other(cut)["global_descriptor"], atol=1e-5)
    side = other.min_sides["global"]
    assert side > model.min_sides["global"], "regions need more cells"
    for length, rows in ((side, 1), (side - 1, 0)):
        few = run(call, image[:length, :length], scales=[1.0], chosen=[0])
        assert few["global_descriptors"].shape == (rows, 6)
    with pytest.raises(InputError, match="scale_rule 'cvnet' is not an operation of TensorFlow"):
        ExportOptions(kind="global").rule(tiny(extraction={"scale_rule": "cvnet"}))
    assert ExportOptions(kind="global", scale_rule="delg").rule(model) == "delg"


def test_onnx_gives_what_the_network_gives(model, exported):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    folder = exported("onnx")
    assert read_json(folder / "extraction.json") == model.extraction
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert [(value.name, value.shape) for value in session.get_inputs()] == [
        ("images", ["batch", "height", "width", 3])
    ]
    names = [value.name for value in session.get_outputs()]
    assert set(names) == {"global_descriptor", "local_descriptors", "attention"}
    for images in (np.stack([IMAGE, IMAGE[::-1]]), IMAGE[None, :40, :33]):
        found = dict(zip(names, session.run(None, {"images": images.astype(np.float32)})))
        expected = model(model.normalize(images), training=False)
        for key, value in found.items():
            np.testing.assert_allclose(value, np.asarray(expected[key]), atol=1e-4)


def test_onnx_without_the_extra_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"pip install '\.\[onnx\]'"):
        check_place(tmp_path / "x", ExportOptions(kind="onnx"))


@pytest.mark.slow
def test_the_command(tmp_path):
    delg.save(tiny(embedding_dim=6, local_dim=4, attention_channels=4), tmp_path / "model")
    for name in ("local_whitening.npz", "adaptation.npz"):
        (tmp_path / "model" / name).write_bytes(b"of this model")

    first = ["--output_dir=out/x", "--kind=global", "--input_scales_list=1,0.5", "--multi_scale_pool_type=sum"]
    done = subprocess.run(
        [sys.executable, "-m", "delg", "export", "--model=model", *first],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    signature, *notes = done.stdout.splitlines()
    assert signature == "out/x: serving_default(input_image uint8 (None, None, 3)) -> global_descriptor", done.stderr
    assert "local_whitening.npz" in notes[0] and "adaptation.npz" in notes[1]
    assert done.stderr == "", "TensorFlow and absl have nothing to say"
    again = processes.run("export", "--model=model", "--output_dir=out/x", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        1,
        "delg-export: The output folder out/x must be absent or empty; an export replaces nothing.\n",
    )
    for arguments, said in (
        ((), "--output_dir is required"),
        (("--output_dir=y", "--input_scales_list=a"), "--input_scales_list=a"),
    ):
        done = processes.run("export", "--model=model", *arguments, cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert said in done.stderr


def test_the_models_own_scales_go_with_it(model, exported):
    assert read_json(exported("local") / "assets.extra/extraction.json") == model.extraction


CLIENT = """
import sys
sys.modules |= dict.fromkeys(("delg", "keras", "extraction", "protos"))  # none of them can be imported
import tensorflow as tf
folder, path = sys.argv[1:]
image = tf.io.decode_image(tf.io.read_file(path), channels=3)
outputs = tf.saved_model.load(folder).signatures["serving_default"](
    input_image=image,
    input_scales=tf.constant([0.5, 1.0, 2.0]),
    input_max_feature_num=tf.constant(20),
    input_abs_thres=tf.constant(0.0),
    input_global_scales_ind=tf.constant([1, 2]),
)
for name in ("boxes", "features", "scales", "scores", "global_descriptors"):
    print(name, outputs[name].shape, outputs[name].dtype.name)
"""


@pytest.mark.slow
def test_a_program_with_tensorflow_only(exported, tmp_path):
    keras.utils.save_img(tmp_path / "photo.png", IMAGE)
    (tmp_path / "client.py").write_text(CLIENT)
    done = subprocess.run(
        [sys.executable, "-I", "client.py", exported("local_and_global"), "photo.png"],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "boxes (20, 4) float32",
        "features (20, 8) float32",
        "scales (20,) float32",
        "scores (20, 1) float32",
        "global_descriptors (2, 16) float32",
    ], done.stderr[-2000:]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "tflite"}, "local, global, local_and_global, batch, onnx"),
        ({"kind": "global", "multi_scale_pool_type": "max"}, "None, average, sum"),
        ({"kind": "local", "multi_scale_pool_type": "sum"}, r"--multi_scale_pool_type.*global"),
        ({"kind": "local_and_global", "input_scales_list": (1.0,)}, r"--input_scales_list.*global"),
        ({"kind": "local", "normalize_global_descriptor": True}, r"--normalize_global_descriptor.*global, batch, onnx"),
        ({"kind": "global", "iou": 0.5}, r"--iou.*local, local_and_global"),
        ({"kind": "local", "iou": 1.5}, "from 0 to 1"),
        ({"kind": "local", "scale_rule": "cvnet"}, "delg, superglobal"),
        ({"kind": "batch", "scale_rule": "delg"}, r"--scale_rule.*local, global, local_and_global"),
        ({"kind": "global", "input_scales_list": ()}, "factors above 0"),
        ({"kind": "global", "input_scales_list": (1.0, 0.0)}, "factors above 0"),
    ],
)
def test_options_that_do_not_fit_are_a_sentence(options, said):
    with pytest.raises(InputError, match=said):
        ExportOptions(**options)


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "empty").mkdir()
    options = ExportOptions()
    check_place(tmp_path / "empty", options)
    check_place(tmp_path / "new" / "er", options)
    for place in ("full", "full/file"):
        with pytest.raises(InputError, match="must be absent or empty"):
            check_place(tmp_path / place, options)
