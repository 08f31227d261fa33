"""Checkpoints with the official names and the rule's weights: converted, they give the released descriptors."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import delg
from delg.importers.job import ConvertOptions, convert, read_source
from delg.importers.strict import gather
from delg.numerics import l2_normalize
from delg.presets import preset_config
from extraction.extractors.delg import DelgExtractor
from tests.delg.importers.keys import released_path
from tests.delg.importers.torch_writer import TorchFile, tensor
from tests.golden import rule
from tests.golden.conftest import golden_path, image_of, largest_difference, load_golden, official_name

CLASSES = 10
UNIT, LOCAL, ATTENTION = 5e-7, 3e-6, 5e-5


@pytest.fixture(scope="module")
def keys(request) -> Callable[[str], dict]:
    return lambda name: json.loads(golden_path(request.config, f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def torch_state(keys, salt) -> Callable[[str], dict[str, np.ndarray]]:
    """The state dict of ``cvnet_r50`` or ``delg_pytorch_r50``, the latter with few classes."""

    def state(network: str) -> dict[str, np.ndarray]:
        listed = {name: tuple(shape) for name, (shape, _) in keys("keys_cvnet")[network].items()}
        few = {
            n: (CLASSES, *s[1:]) if re.match(r"(desc|att)_cls\.(fc\.)?(weight|bias)", n) else s
            for n, s in listed.items()
        }
        return {n: rule.weight(n, s, salt) if n != "desc_cls.t" else np.zeros(s, "f4") for n, s in few.items()}

    return state


@pytest.fixture(scope="module")
def released_weights(keys, salt) -> dict[str, tuple[dict, np.ndarray]]:
    """By official name: the names of a weight in the formats, and its values."""
    weights = keys("keys_delg")["weights"]
    return {name: (names, rule.weight(name, tuple(names["shape"]), salt)) for name, names in weights.items()}


def converted(source: Path, folder: Path, **options) -> Path:
    lines = convert(ConvertOptions(str(source), str(folder), **options))
    assert "weights read." in lines[0] and (folder / "config.json").is_file()
    return folder


@pytest.fixture(scope="module")
def cvnet_file(torch_state, tmp_path_factory) -> Path:
    state = {f"module.{name}": tensor(array) for name, array in torch_state("cvnet_r50").items()}
    document = {"epoch": 99, "model_state": state, "cfg": "MODEL:\n  DEPTH: 50\n"}
    return TorchFile(document).archive(tmp_path_factory.mktemp("cvnet") / "CVNet_R50.pyth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "fields"),
    [
        (None, r"(img\w+)/cvnet/desc_l2"),
        ("superglobal", r"(img\w+)/desc/scales3/aa0/gemp1_rgem1_sgem1_relup1/l2"),
    ],
)
def test_cvnet_and_superglobal(form, fields, cvnet_file, request, tmp_path, measured):
    golden = load_golden(request.config, "superglobal_r50")
    folder = converted(cvnet_file, tmp_path / "model", format=form)
    extractor = DelgExtractor.from_folder(str(folder))
    document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert document["provenance"]["format"] == (form or "cvnet") and document["provenance"]["weights"] == 268
    assert document["model"]["extraction"] == preset_config(f"{form or 'cvnet'}_r50")["extraction"]
    found = [(key, match[1]) for key in golden if (match := re.fullmatch(fields, key))]
    assert found
    for key, image in found:
        descriptor = extractor(image_of(image), "image").global_descriptor
        stage = f"Converted {form or 'cvnet'} checkpoint: descriptor"
        measured(stage, largest_difference(descriptor, golden[key].ravel()), UNIT)


def test_the_pytorch_delg(torch_state, tmp_path):
    state = torch_state("delg_pytorch_r50")
    document = {"model_state": {name: tensor(array) for name, array in state.items()}, "optimizer_state": {"state": {}}}
    path = TorchFile(document).stream(tmp_path / "model_epoch_0100.pyth")
    model = delg.load(converted(path, tmp_path / "model"))
    found = {variable.path: np.array(variable) for variable in model.weights}
    for ours, theirs in {
        "conv1/kernel": state["globalmodel.stem.conv.weight"].transpose(2, 3, 1, 0),
        "res4f_branch2b/kernel": state["globalmodel.s3.b6.f.b.weight"].transpose(2, 3, 1, 0),
        "bn5a_branch1/moving_variance": state["globalmodel.s4.b1.bn.running_var"],
        "pooling/p": state["globalmodel.head.pool.p"],
        "embedding_layer/kernel": state["globalmodel.head.fc.weight"].T,
        "local_head/conv1/kernel": state["localmodel.conv1.weight"].transpose(2, 3, 1, 0),
        "local_head/bn/moving_mean": state["localmodel.bn.running_mean"],
        "local_head/conv2/bias": state["localmodel.conv2.bias"],
    }.items():
        np.testing.assert_array_equal(found[ours], theirs, err_msg=ours)
    image = image_of("img1_97x129")
    out = model(model.normalize(image[None]))
    assert out["global_descriptor"].shape == (1, 512) and out["local_descriptors"].shape[-1] == 512
    norms = np.linalg.norm(np.array(out["local_descriptors"]), axis=-1)
    np.testing.assert_allclose(norms, np.array(out["attention"]), rtol=1e-4)


def tensorflow_file(prefix: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A checkpoint of given keys, index and data."""
    import tensorflow as tf

    prefix.parent.mkdir(parents=True, exist_ok=True)
    tensors = [tf.constant(array) for array in arrays.values()]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays), tensors=tensors
    )
    return prefix


def weights_file(folder: Path, weights, keys) -> Path:
    return tensorflow_file(
        folder / "delf_weights", {names["checkpoint_key"]: array for names, array in weights.values()}
    )


def training_file(folder: Path, weights, keys) -> Path:
    values = {f"model/{names['checkpoint_key']}": array for names, array in weights.values()}
    listed = {key: tuple(shape) for key, shape in keys("keys_delg")["training_checkpoint_keys"]}
    assert set(values) < set(listed)
    others = {key: np.zeros((), "f4") for key in listed if key not in values and not key.startswith("_")}
    return tensorflow_file(folder / "delf_tf2-ckpt" / "ckpt-7", values | others).parent


def exported_file(folder: Path, weights, keys) -> Path:
    values = {names["saved_model_key"]: array for names, array in weights.values() if names["saved_model_key"]}
    tensorflow_file(folder / "export" / "variables" / "variables", values)
    (folder / "export" / "saved_model.pb").write_bytes(b"")
    return folder / "export"


def hdf5_file(folder: Path, weights, keys) -> Path:
    values = {names["keras_name"]: array for names, array in weights.values()}
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "delf_weights.h5", "w") as file:
        for group, datasets in keys("keys_delg")["h5_keys"]:
            file.create_group(group).attrs["weight_names"] = [name.encode() for name, _ in datasets]
            for name, _ in datasets:
                file[group][name] = values[name]
    return folder / "delf_weights.h5"


def assert_rule(model, released_weights) -> None:
    """Every weight of a model is the rule's, and no more than ArcFace's scale is left over."""
    for variable in model.weights:
        _, array = released_weights[official_name(variable.path)]
        np.testing.assert_array_equal(variable, array, err_msg=variable.path)
    assert model.config["arcface_scale"] == pytest.approx(45.25)


@pytest.mark.slow
@pytest.mark.parametrize(("write", "strides"), [(weights_file, True), (exported_file, False)])
def test_the_released_delg(write, strides, released_weights, keys, request, tmp_path, measured):
    golden = load_golden(request.config, "delg_r50")
    source = write(tmp_path / "official", released_weights, keys)
    model = delg.load(converted(source, tmp_path / "model", block3_strides=None if strides else False))
    assert model.config["block3_strides"] is strides
    assert model.num_classes == (CLASSES if strides else None) and len(model.weights) == (335 if strides else 332)
    assert_rule(model, released_weights)
    compare(model, golden, f"strides{int(strides)}", measured)


@pytest.mark.parametrize("write", [training_file, hdf5_file])
def test_other_files_of_the_released_delg_hold_the_same(write, released_weights, keys, tmp_path):
    source = read_source(ConvertOptions(str(write(tmp_path / "official", released_weights, keys)), "unused"))
    assert source.format == "delg_checkpoint" and source.preset == "delg_r50"
    assert source.overrides["num_classes"] == CLASSES and source.overrides["block3_strides"]
    paths = {released_path(name): names["shape"] for name, (names, _) in released_weights.items()}
    del paths["scale_factor"]
    arrays = gather(source, {path: tuple(shape) for path, shape in paths.items()})
    assert len(arrays) == 335
    for path, array in arrays.items():
        np.testing.assert_array_equal(array, released_weights[official_name(path)][1], err_msg=path)


def compare(model, golden, prefix: str, measured) -> None:
    images = {key.split("/")[1] for key in golden if key.startswith(prefix) and key.endswith("global_l2")}
    assert images
    for image in sorted(images):
        out = model(model.normalize(image_of(image)[None]))
        values = {
            "global_l2": (l2_normalize(out["global_descriptor"]), 2 * UNIT),
            "ae_features_l2": (l2_normalize(out["local_descriptors"]), LOCAL),
            "attn_prob": (out["attention"][..., None], ATTENTION),
        }
        for field, (value, tolerance) in values.items():
            expected = golden.get(f"{prefix}/{image}/{field}")
            if expected is not None:
                measured(f"Converted DELG: {field}", largest_difference(np.array(value), expected), tolerance)
