"""What is read off the names and shapes of a file, and how a file that does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest

import delg
from delg.common.errors import InputError
from delg.importers.names import VALUE
from delg.importers.source import Stored, WeightSource
from delg.importers.strict import assign, check, gather, shapes_of
from delg.importers.tensorflow_names import CheckpointKeys, VariableNames
from delg.importers.tensorflow_weights import source_of
from delg.importers.torch_weights import cvnet, delg_pytorch, prefix_of, superglobal, torch_format
from tests.delg.importers.keys import deeper, load_keys, torch_keys, torch_r101
from tests.delg.importers.torch_writer import SavedStorage, TorchFile, zeros
from tests.tiny import BACKBONE

RELEASED = load_keys("keys_delg")
NOTHING = SavedStorage(np.zeros(4_718_592, "f4"))


def torch_file(shapes, path: Path) -> Path:
    small = {name: shape for name, shape in shapes.items() if not name.startswith(("desc_cls", "att_cls"))}
    large = {name: (7, *shape[1:]) for name, shape in shapes.items() if name not in small}
    return TorchFile({"model_state": {n: zeros(s, NOTHING) for n, s in (small | large).items()}}).archive(path)


def released(shapes, **options) -> WeightSource:
    stored = {key: Stored(tuple(shape), lambda: np.zeros(())) for key, shape in shapes.items()}
    form = options.get("form", "delg_checkpoint")
    return source_of(form, (Path("x"),), CheckpointKeys(stored), stored, options.get("block3_strides"))


def official(kind: str) -> dict[str, list[int]]:
    return {keys[kind]: keys["shape"] for keys in RELEASED["weights"].values() if keys[kind]}


@pytest.mark.parametrize("prefix", ["encoder_q.", "globalmodel.", "module.encoder_q.", "module.globalmodel.", ""])
def test_cvnet_under_every_prefix(prefix, tmp_path, cvnet_shapes):
    outer = "module." if prefix.startswith("module.") else ""
    renamed = {
        prefix + name.removeprefix("encoder_q.") if name.startswith("encoder_q.") else outer + name: shape
        for name, shape in torch_keys("cvnet_r50").items()
    }
    extra = {f"{outer}encoder_k.stem.conv.weight": (1,), f"{outer}queue_l": (1,), f"{outer}seb1.weight": (1,)}
    for shapes, made in ((renamed, cvnet), (renamed | extra, superglobal)):
        path = torch_file(shapes, tmp_path / f"{made.__name__}.pyth")
        source = made(path)
        assert torch_format(path) == made.__name__ and prefix_of(shapes) == prefix
        assert source.preset == f"{made.__name__}_r50" and source.overrides == {"embedding_dim": 2048}
        assert len(check(source, cvnet_shapes)) == 268 == len(cvnet_shapes)
        assert f"{len(shapes) - 268} of {len(shapes)} entries" in source.notes[0]


def test_the_pytorch_delg(tmp_path):
    path = torch_file(torch_keys("delg_pytorch_r50"), tmp_path / "a.pyth")
    source = delg_pytorch(path)
    assert torch_format(path) == "delg_pytorch" and source.preset == "delg_pytorch_r50"
    assert source.overrides == {"embedding_dim": 512, "attention_channels": 512}
    assert len(check(source, shapes_of(delg.create(source.preset, **source.overrides)))) == 276


def test_resnet_101_has_17_more_units(tmp_path):
    shapes = torch_r101(torch_keys("cvnet_r50"))
    kept = [name for name in shapes if name.startswith("encoder_q") and not name.endswith("tracked")]
    assert len(kept) == 268 + 17 * 15 == 523
    source = cvnet(torch_file(shapes, tmp_path / "a.pyth"))
    model = delg.create("cvnet_r101")
    assert source.preset == "cvnet_r101" and len(check(source, shapes_of(model))) == 523
    letters = [chr(ord("g") + i) for i in range(17)]
    for kind, count in (("checkpoint_key", 335), ("saved_model_key", 332)):
        keras = deeper(official(kind), r"backbone/l4(f)/", letters)
        source = released(keras)
        assert source.preset == "delg_r101" and len(source.stored) == count + 17 * 18
    assert len(check(source, shapes_of(delg.create("delg_r101")))) == 332 + 17 * 18 == 638


@pytest.mark.parametrize("kind", ["checkpoint_key", "saved_model_key"])
@pytest.mark.parametrize("strides", [None, True, False])
def test_the_configuration_of_the_released_delg(kind, strides):
    source = released(official(kind), block3_strides=strides)
    classes = {"num_classes": 10, "arcface_scale": 0.0} if kind == "checkpoint_key" else {}
    assert source.preset == "delg_r50"
    assert source.overrides == {
        "block3_strides": strides is not False,
        "embedding_dim": 2048,
        "local_dim": 128,
        "attention_channels": 512,
        **classes,
    }
    assert bool(source.notes) == (strides is None)


def test_every_spelling_of_the_released_delg_fits(delg_shapes):
    training = dict(RELEASED["training_checkpoint_keys"])
    slot = f"model/backbone/conv1/kernel/.OPTIMIZER_SLOT/optimizer/momentum{VALUE}"
    counters = {f"save_counter{VALUE}": [], slot: [7, 7, 3, 64], "_CHECKPOINTABLE_OBJECT_GRAPH": []}
    exported = {path: shape for path, shape in delg_shapes.items() if not path.startswith(("classifier", "att_fc"))}
    assert len(check(released(training | counters), delg_shapes)) == 335
    assert len(check(released(official("checkpoint_key") | counters), delg_shapes)) == 335
    assert len(check(released(official("saved_model_key")), exported)) == 332
    plain = {
        f"_model/{key}": shape
        for key, shape in official("checkpoint_key").items()
        if key.startswith(("b", "au", "atte"))
    }
    assert len(check(released(plain), exported)) == 332


def test_parts_that_are_absent_as_a_whole():
    keys = official("checkpoint_key")
    without = {key: shape for key, shape in keys.items() if not key.startswith("autoencoder")}
    assert released(without).overrides["local_dim"] is None and "local_head" not in released(without).overrides
    alone = {key: shape for key, shape in without.items() if not key.startswith("attention")}
    assert released(alone, form="delg_saved_model").overrides["local_head"] is None
    one = next(key for key in keys if key.startswith("attention"))
    assert "local_head" not in released(alone | {one: keys[one]}, form="delg_saved_model").overrides
    one = dict(list(keys.items()))
    del one[f"autoencoder/conv1/kernel{VALUE}"]
    assert "local_dim" not in released(one).overrides  # the preset's, and the kernel is missed by name


def released_tree(tf, by_number: bool):
    values = {name: i + 1.0 for i, name in enumerate(RELEASED["weights"]) if "res2a" in name or "bn2a" in name}
    root, unit = tf.Module(), tf.Module()
    root._model = tf.Module()
    root._model.backbone = tf.Module()
    root._model.backbone.l2a = unit
    variables = [tf.Variable(value, name=name.removeprefix("backbone/")) for name, value in values.items()]
    if by_number:
        unit.things = variables[::-1]
    else:
        for name, variable in zip(values, variables):
            layer, leaf = RELEASED["weights"][name]["checkpoint_key"].split("/")[2:4]
            if not hasattr(unit, layer):
                setattr(unit, layer, tf.Module())
            setattr(getattr(unit, layer), leaf, variable)
    return root, values


@pytest.mark.parametrize("by_number", [True, False])
def test_an_export_is_found_by_its_object_graph(by_number, tmp_path):
    import tensorflow as tf

    from delg.importers.tensorflow_weights import checkpoint_prefix, read_checkpoint

    root, values = released_tree(tf, by_number)
    tf.saved_model.save(root, str(tmp_path / "export"))
    keys, stored = read_checkpoint(checkpoint_prefix(tmp_path / "export"))
    assert keys.root == "_model/" and len(keys.weights()) == len(values) == 24
    for name, value in values.items():
        found = keys.found(name.removeprefix("backbone/"))
        assert found in stored and stored[found].read() == value
    assert keys.found("res2b_branch2a/kernel") is None


def test_a_walk_finds_variables_whose_keys_are_numbers():
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    graph = TrackableObjectGraph()
    for i, name in enumerate(["_model", "backbone", "l2a", "conv2a", "kernel"]):
        graph.nodes.add().children.add(node_id=i + 1, local_name=name)
    key = f"_model/backbone/layer-3/x{VALUE}"
    graph.nodes.add().attributes.add(name="VARIABLE_VALUE", checkpoint_key=key)
    assert CheckpointKeys([key], graph).found("res2a_branch2a/kernel") == key
    assert CheckpointKeys([key], graph).found("res2a_branch2a/bias") is None
    assert CheckpointKeys([key]).found("res2a_branch2a/kernel") is None


def test_hdf5_names_leave_the_scale_out():
    names = VariableNames(["conv1/kernel:0", "scale_factor:0"])
    assert names.weights() == ["conv1/kernel:0"] and names.scale() == "scale_factor:0"
    assert names.found("conv1/kernel") == "conv1/kernel:0" and names.found("conv1/bias") is None
    assert VariableNames([]).scale() is None


def source(**arrays) -> WeightSource:
    stored = {name: Stored(array.shape, lambda array=array: array) for name, array in arrays.items()}
    return WeightSource("cvnet", "x", {}, (Path("f"),), stored, lambda path: path, torch_layout=True)


def test_layouts():
    kernel, matrix = np.arange(24.0).reshape(2, 3, 1, 4), np.arange(6.0).reshape(2, 3)
    found = gather(source(k=kernel, m=matrix, b=np.arange(2.0)), {"k": (1, 4, 3, 2), "m": (3, 2), "b": (2,)})
    assert found["k"][0, 3, 2, 1] == kernel[1, 2, 0, 3] and found["k"].dtype == np.float32
    np.testing.assert_array_equal(found["m"], matrix.T)
    np.testing.assert_array_equal(found["b"], [0, 1])


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.array([1, 2]), "holds int64"), (np.array([1, np.nan]), "not finite"), (np.array([np.inf, 0]), "not finite")],
)
def test_values_that_are_no_weights(array, message):
    with pytest.raises(InputError, match=f"The weight b {message}|The weight b holds values that are {message}"):
        gather(source(b=array), {"b": (2,)})


def test_a_model_is_unchanged_by_a_file_that_does_not_fit():
    model = delg.create("delg_small", backbone=BACKBONE)
    before = [np.array(variable) for variable in model.weights]
    arrays = {variable.path: np.full(variable.shape, 2.0) for variable in model.weights}
    last = model.weights[-1].path
    whole = source(**arrays)
    kept = WeightSource("cvnet", "x", {}, (), {k: v for k, v in whole.stored.items() if k != last}, lambda path: path)
    with pytest.raises(InputError, match=f"missing:\n  {last}$"):
        assign(kept, model)
    assert all(np.array_equal(old, variable) for old, variable in zip(before, model.weights))
    ours = WeightSource("cvnet", "x", {}, (), whole.stored, lambda path: path)
    assert assign(ours, model) == len(before) and all(np.all(np.array(v) == 2) for v in model.weights)
