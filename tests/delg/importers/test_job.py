"""The command's work: formats recognised by their files, whole model folders or none."""

import json
import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.common.files import sha256
from delg.importers.detect import detect
from delg.importers.job import KERAS, TORCH, VIT, ConvertOptions, convert, read_source
from delg.importers.keras_h5 import MEAN_BGR, for_our_input, keras_applications
from delg.importers.options import FORMATS
from delg.importers.strict import check, gather
from delg.importers.tensorflow_weights import checkpoint_prefix
from tests import processes
from tests.delg.importers.keys import load_keys, torch_keys
from tests.delg.importers.test_sources import NOTHING
from tests.delg.importers.torch_writer import TorchFile, tensor, zeros


def options(source: Path, output: Path, **others) -> ConvertOptions:
    return ConvertOptions(str(source), str(output), **others)


def legacy_h5(path: Path, layers: dict[str, dict[str, tuple[int, ...]]], top: str | None = None) -> Path:
    """Zeros in Keras' first HDF5 layout."""
    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        for layer, weights in layers.items():
            inside = group.create_group(layer)
            inside.attrs["weight_names"] = [name.encode() for name in weights]
            for name, shape in weights.items():
                inside.create_dataset(name, shape, "f4")
    return path


def released_h5(path: Path) -> Path:
    groups = load_keys("keys_delg")["h5_keys"]
    return legacy_h5(path, {group: {name: tuple(shape) for name, shape in datasets} for group, datasets in groups})


def applications_h5(path: Path, old: bool = False, top: str | None = None) -> Path:
    model = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    layers = {}
    for layer in model.layers:
        if layer.weights and old:
            part = next(name for name in TRANSLATED if applications(name) == layer.name)
            layers[part] = {f"{part}_{i}:0": tuple(weight.shape) for i, weight in enumerate(layer.weights)}
        elif layer.weights:
            layers[layer.name] = {f"{weight.path}:0": tuple(weight.shape) for weight in layer.weights}
    return legacy_h5(path, layers | {"fc1000": {"fc1000_W:0": (2048, 1000), "fc1000_b:0": (1000,)}}, top)


def applications(layer: str) -> str:
    from delg.importers.names import applications_name

    leaf = "gamma" if layer.startswith("bn") else "kernel"
    return applications_name(f"{layer}/{leaf}").rpartition("/")[0]


TRANSLATED = {name.split("/")[1] for name in load_keys("keys_delg")["weights"] if name.startswith("backbone/")}
TRANSLATED.discard("embedding_layer")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "model"
    model = delg.create("delg_small", num_classes=3, seed=5)
    model.weights[0].assign(np.full(model.weights[0].shape, 0.5, "f4"))
    delg.save(model, folder)
    return folder / "model.weights.h5"


def test_the_table_is_whole():
    assert set(FORMATS) == {*TORCH, *KERAS, *VIT, "delg_weights"}


def test_formats_are_told_from_the_files(tmp_path, small):
    import tensorflow as tf

    state = {name: zeros((1,), NOTHING) for name in torch_keys("delg_pytorch_r50")}
    assert detect(TorchFile(state).stream(tmp_path / "a.pyth")) == "delg_pytorch"
    assert detect(small) == "delg_weights"
    assert detect(released_h5(tmp_path / "a.h5")) == "delg_checkpoint"
    assert detect(applications_h5(tmp_path / "b.h5")) == "keras_applications"
    module = tf.Module()
    module._model = tf.Module()
    module._model.backbone = tf.Module()
    module._model.backbone.conv1 = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "export"))
    for name in ("", "variables", "variables/variables", "variables/variables.index"):
        assert detect(tmp_path / "export" / name) == "delg_saved_model"
    tf.train.Checkpoint(model=module._model).write(str(tmp_path / "train" / "ckpt"))
    for name in ("train", "train/ckpt", "train/ckpt.index", "train/ckpt.data-00000-of-00001"):
        assert detect(tmp_path / name) == "delg_checkpoint"
        assert checkpoint_prefix(tmp_path / name) == tmp_path / "train" / "ckpt"


def test_the_last_of_several_checkpoints(tmp_path):
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(x=tf.Variable(1.0))
    for name in ("b", "a"):
        checkpoint.write(str(tmp_path / name))
    with pytest.raises(InputError, match="does not hold one checkpoint"):
        checkpoint_prefix(tmp_path)
    checkpoint.save(str(tmp_path / "ckpt"))
    assert checkpoint_prefix(tmp_path) == tmp_path / "ckpt-1"


def test_what_is_no_weight_file(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    legacy_h5(tmp_path / "dense.h5", {"dense": {"dense/kernel:0": (2, 2)}})
    (tmp_path / "bad.index").write_bytes(b"nonsense")
    for name, message in (
        ("nothing", "nothing does not exist"),
        ("text", "neither a PyTorch file, nor safetensors, nor HDF5"),
        ("empty", "neither an exported model, nor"),
        ("other.h5", "no layer lists its weights"),
        ("dense.h5", "nor ImageNet weights of Keras"),
        ("bad", "cannot be read as a TensorFlow checkpoint"),
    ):
        with pytest.raises(InputError, match=message):
            detect(tmp_path / name)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match="no variables to convert"):
        read_source(options(tmp_path / "zoo", tmp_path / "out"))
    with pytest.raises(InputError, match="is a model folder already"):
        for name in ("config.json", "model.weights.h5"):
            (tmp_path / "empty" / name).write_text("{}")
        detect(tmp_path / "empty")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "onnx"}, "Unknown format 'onnx'; the choices are cvnet, "),
        ({"preset": "delg_r18"}, "Unknown preset 'delg_r18'"),
        ({"format": "cvnet", "block3_strides": True}, "a cvnet network has none"),
        ({"format": "cvnet"}, "not a file of PyTorch"),
        ({"format": "keras_applications"}, "is not a Keras HDF5"),
        ({"format": "delg_checkpoint"}, "text is no TensorFlow checkpoint"),
    ],
)
def test_wrong_options(given, message, tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match=message):
        read_source(options(tmp_path / "text", tmp_path / "out", **given))


def test_our_own_weights(small, tmp_path):
    alone = tmp_path / "some.weights.h5"
    alone.write_bytes(small.read_bytes())
    with pytest.raises(InputError, match="give --preset"):
        convert(options(alone, tmp_path / "out"))
    lines = convert(options(alone, tmp_path / "out", preset="delg_small"))
    assert lines[0].startswith("some.weights.h5 (delg_weights) -> ") and "delg_small" in lines[0]
    made, given = delg.load(tmp_path / "out"), delg.load(small.parent)
    assert made.get_config() == given.get_config()
    assert all(np.array_equal(a, b) for a, b in zip(made.weights, given.weights))
    convert(options(small, tmp_path / "beside"))
    assert (tmp_path / "beside" / "model.weights.h5").read_bytes() == (tmp_path / "out/model.weights.h5").read_bytes()


def test_our_own_weights_are_strict(small, tmp_path):
    for change, message in (
        (lambda file: file.pop("embedding_layer/vars/1"), "1 missing.\nmissing:\n  embedding_layer/vars/1$"),
        (lambda file: file.create_dataset("more/vars/0", (2,)), "1 unexpected.\nunexpected:\n  more/vars/0$"),
        (lambda file: (file.pop("embedding_layer/vars/1"), file.create_dataset("embedding_layer/vars/1", (9,))),
         r"of another shape:\n  embedding_layer/vars/1 \(\(9,\) where \(256,\)"),
    ):  # fmt: skip
        path = tmp_path / "some.weights.h5"
        path.write_bytes(small.read_bytes())
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(InputError, match=message):
            convert(options(path, tmp_path / "out", preset="delg_small"))
        assert not (tmp_path / "out").exists()


def test_the_folder_says_where_it_comes_from(small, tmp_path):
    given = options(small, tmp_path / "out", seed=3)
    convert(given)
    document = json.loads((tmp_path / "out/config.json").read_text())
    assert document["provenance"] == {
        "format": "delg_weights",
        "preset": "config.json",
        "block3_strides": None,
        "local_head": None,
        "pooling": None,
        "seed": 3,
        "files": {"model.weights.h5": sha256(small)},
        "weights": len(delg.load(tmp_path / "out").weights),
    }
    assert convert(given) == [f"{tmp_path / 'out'} already holds this conversion."]
    with pytest.raises(InputError, match="is not empty and holds something else"):
        convert(options(small, tmp_path / "out", seed=4))
    with pytest.raises(InputError, match="is not empty and holds something else"):
        convert(options(small, small.parent))


def test_a_configuration_that_the_model_does_not_take(small, tmp_path):
    (tmp_path / "w.weights.h5").write_bytes(small.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model": {"widths": 3}}))
    with pytest.raises(InputError, match=r"does not fit the model: .*widths"):
        convert(options(tmp_path / "w.weights.h5", tmp_path / "out"))


def test_nothing_is_left_of_a_file_that_does_not_fit(tmp_path):
    shapes = dict(torch_keys("cvnet_r50"))
    shapes["encoder_q.s1.b1.f.a.weighs"] = shapes.pop("encoder_q.s1.b1.f.a.weight")
    shapes["encoder_q.stem.bn.bias"] = (65,)
    path = TorchFile({"model_state": {n: zeros(s, NOTHING) for n, s in shapes.items()}}).archive(tmp_path / "a.pyth")
    with pytest.raises(InputError) as raised:
        convert(options(path, tmp_path / "out" / "model"))
    lines = str(raised.value).splitlines()
    assert lines[0].endswith("1 missing, 1 unexpected, 1 of another shape.") and len(lines) == 7
    for name in ("s1.b1.f.a.weight", "s1.b1.f.a.weighs", "stem.bn.bias ((65,) where (64,) is expected)"):
        assert f"  encoder_q.{name}" in lines
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("write", [TorchFile.archive, TorchFile.stream])
def test_the_command_refuses_a_file_that_would_run_another(write, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = write(TorchFile({"model_state": {"a": tensor(np.float32([1])), "b": Evil()}}), tmp_path / "a.pyth")
    done = processes.run("convert", f"--input={path}", f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert str(path) in done.stderr and "posix.system" in done.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("old", "top"), [(False, None), (True, None), (False, "model_weights")])
def test_imagenet_weights_fit_the_backbone(old, top, delg_r50, tmp_path):
    source = keras_applications(applications_h5(tmp_path / "a.h5", old, top))
    shapes = delg_r50
    assert source.preset == "delg_r50" and len(source.notes) == 2
    named = check(source, shapes)
    assert len(named) == 318 and set(shapes) - set(named) == {
        path for path in shapes if path.startswith(("embedding_layer", "local_head"))
    }
    arrays = gather(source, shapes)
    assert arrays["bn3a_branch1/moving_variance"].shape == (512,)


def test_the_first_convolution_is_rewritten_for_our_input():
    rng = np.random.default_rng(0)
    kernel, bias = rng.standard_normal((7, 7, 3, 4)).astype("f4"), rng.standard_normal(4).astype("f4")
    ours = for_our_input({"conv1/kernel": kernel, "conv1/bias": bias, "other": bias})
    rgb = rng.integers(0, 256, (1, 9, 9, 3)).astype("f4")
    caffe = np.einsum("hwi,hwio->o", rgb[0, 1:8, 1:8, ::-1] - MEAN_BGR, kernel) + bias
    delg_input = (rgb[0, 1:8, 1:8] - 128) / 128
    found = np.einsum("hwi,hwio->o", delg_input, ours["conv1/kernel"]) + ours["conv1/bias"]
    np.testing.assert_allclose(found, caffe, rtol=1e-5)
    assert ours["other"] is bias
