"""SqueezeNet: sizes, geometry, and its ImageNet weights on our input."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import delg
from delg.backbones.squeezenet import squeezenet
from delg.common.files import sha256
from delg.importers.job import convert
from delg.importers.options import ConvertOptions
from evaluation.data.catalogue import CATALOGUE
from training.pretrained import load_imagenet

WEIGHTS = Path(__file__).parents[4] / "shared" / "weights" / "squeezenet1_1_imagenet_notop.h5"
MEAN_BGR = np.array([103.939, 116.779, 123.68], np.float32)


def array(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def test_it_has_the_published_size_and_the_blocks_their_strides():
    trunk = squeezenet()
    assert trunk.model.count_params() == 722_496  # 1.1 without conv10
    maps = trunk.model(np.zeros((1, 227, 227, 3), np.float32))
    assert [maps[f"block{i}"].shape[1:] for i in range(5)] == [
        (113, 113, 64), (56, 56, 128), (27, 27, 256), (13, 13, 384), (13, 13, 512),
    ]  # fmt: skip
    thinned = squeezenet(block3_strides=True).model(np.zeros((1, 227, 227, 3), np.float32))
    assert thinned["block3"].shape[1:] == (7, 7, 384) and thinned["block4"].shape[1:] == (13, 13, 512)
    assert trunk.min_side() == 31
    assert trunk.model(np.zeros((1, 31, 31, 3), np.float32))["block4"].shape[1:3] == (1, 1)


def reference(path: Path, images: np.ndarray) -> np.ndarray:
    """``fire9`` of the Keras port, written out: BGR less the mean, 'valid' stem and poolings."""
    import h5py

    with h5py.File(path) as file:

        def weights(name: str) -> list[np.ndarray]:
            return [np.asarray(file[name][key]) for key in file[name].attrs["weight_names"]]

        def convolution(x, name: str, stride: int = 1, padding: str = "same"):
            kernel, bias = weights(name)
            return ops.relu(ops.conv(x, kernel, stride, padding) + bias)

        x = convolution(images[..., ::-1] - MEAN_BGR, "conv1", 2, "valid")
        for number in range(2, 10):
            if number in (2, 4, 6):
                x = layers.MaxPooling2D(3, 2)(x)
            x = convolution(x, f"fire{number}/squeeze1x1")
            both = [convolution(x, f"fire{number}/expand{size}") for size in ("1x1", "3x3")]
            x = ops.concatenate(both, axis=-1)
    return array(x)


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the ImageNet weights are not there")
def test_the_catalogue_knows_the_hash_of_the_weights():
    (file,) = CATALOGUE["squeezenet_imagenet"]
    assert sha256(WEIGHTS) == file.sha256


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the ImageNet weights are not there")
def test_imagenet_weights_give_the_features_of_the_keras_port():
    model = delg.create("delg_squeezenet", num_classes=3)
    load_imagenet(model, WEIGHTS)
    images = np.random.default_rng(0).integers(0, 256, (2, 97, 120, 3)).astype(np.float32)
    ours = array(model.backbone(model.normalize(images))["block4"])
    theirs = reference(WEIGHTS, images)
    assert ours.shape == theirs.shape and theirs.max() > 5
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.max())


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the ImageNet weights are not there")
def test_converted_weights_describe_photos_without_training(tmp_path):
    """The pooled features of the Keras port are the descriptor: nothing in the model keeps fresh values."""
    lines = convert(ConvertOptions(input=str(WEIGHTS), output_dir=str(tmp_path / "squeezenet")))
    assert "50 of 50 weights read." in lines[0]
    model = delg.load(tmp_path / "squeezenet")
    images = np.random.default_rng(0).integers(0, 256, (2, 97, 120, 3)).astype(np.float32)
    ours = array(model(model.normalize(images))["global_descriptor"])
    theirs = np.mean(reference(WEIGHTS, images) ** 3, axis=(1, 2)) ** (1 / 3)
    assert ours.shape == (2, 512)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * theirs.max())


def test_the_model_runs_both_heads_and_is_saved(tmp_path):
    model = delg.create("delg_squeezenet", num_classes=3)
    outputs = model(model.normalize(np.zeros((1, 96, 96, 3), np.float32)))
    assert outputs["global_descriptor"].shape == (1, 256) and outputs["local_descriptors"].shape == (1, 5, 5, 64)
    delg.save(model, tmp_path)
    assert isinstance(delg.load(tmp_path), keras.Model)
