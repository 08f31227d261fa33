"""Every official name against ours."""

import re

import pytest

from delg.importers.names import (
    VALUE,
    applications_name,
    checkpoint_name,
    numbered_name,
    torch_name,
    unit_of,
    variable_name,
)
from tests.delg.importers.keys import load_keys, released_path, torch_keys

RELEASED = load_keys("keys_delg")["weights"]
PATHS = {name: released_path(name) for name in RELEASED if name != "classifier/scale_factor"}


def test_all_names_of_the_released_checkpoints():
    assert len(PATHS) == 335
    for name, path in PATHS.items():
        keys = RELEASED[name]
        assert checkpoint_name(path) + VALUE == keys["checkpoint_key"]
        assert variable_name(path) + ":0" == keys["keras_name"]
        if keys["saved_model_key"]:
            assert f"_model/{numbered_name(path) or checkpoint_name(path)}{VALUE}" == keys["saved_model_key"]


def test_all_names_of_the_hdf5_file():
    groups = load_keys("keys_delg")["h5_keys"]
    names = {name for _, datasets in groups for name, _ in datasets}
    assert names == {f"{variable_name(path)}:0" for path in PATHS.values()} | {"scale_factor:0"}


@pytest.mark.parametrize(
    ("network", "prefix", "others"),
    [
        ("cvnet_r50", "encoder_q.", r"conv2ds|cv_learner|.*num_batches_tracked"),
        ("delg_pytorch_r50", "globalmodel.", r"desc_cls|att_cls|localmodel|.*num_batches_tracked"),
    ],
)
def test_all_names_of_the_pytorch_backbones(network, prefix, others):
    trunk = [path for path in PATHS.values() if unit_of(path) or path.startswith(("conv1", "bn_conv1", "embedding"))]
    biased = [path for path in trunk if not (path.endswith("bias") and path.startswith(("res", "conv1")))]
    expected = {prefix + torch_name(path) for path in [*biased, "pooling/p"]}
    assert expected == {name for name in torch_keys(network) if not re.match(others, name)}
    assert len(expected) == 268


def test_names_of_the_pytorch_local_head():
    leaves = {"conv1": ("kernel", "bias"), "bn": ("gamma", "beta", "moving_mean", "moving_variance")}
    paths = [
        f"local_head/{layer}/{leaf}" for layer, those in (leaves | {"conv2": leaves["conv1"]}).items() for leaf in those
    ]
    found = {name for name in torch_keys("delg_pytorch_r50") if name.startswith("localmodel") and "tracked" not in name}
    assert {torch_name(path) for path in paths} == found


def test_each_leaf_goes_to_its_own_name():
    assert torch_name("bn3b_branch2c/moving_variance") == "s2.b2.f.c_bn.running_var"
    assert torch_name("bn5a_branch1/moving_mean") == "s4.b1.bn.running_mean"
    assert torch_name("bn_conv1/gamma") == "stem.bn.weight" and torch_name("bn_conv1/beta") == "stem.bn.bias"
    assert torch_name("res4w_branch2b/kernel") == "s3.b23.f.b.weight"
    assert torch_name("embedding_layer/bias") == "head.fc.bias"


def test_names_of_keras_applications():
    import keras

    trunk = {name: path for name, path in PATHS.items() if unit_of(path) or path.startswith(("conv1/", "bn_conv1/"))}
    ours = {applications_name(path): tuple(RELEASED[name]["shape"]) for name, path in trunk.items()}
    model = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    assert {weight.path: tuple(weight.shape) for weight in model.weights} == ours
    assert applications_name("res4w_branch2c/kernel") == "conv4_block23_3_conv/kernel"
