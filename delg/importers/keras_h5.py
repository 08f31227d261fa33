"""Weights in Keras' first HDF5 layout: the released DELG's, and the ResNets of ``keras.applications``.

References:
  `keras/applications/resnet.py`; the ResNet-50 file of fchollet's deep-learning-models, release 0.2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from delg.importers.names import CONVOLUTION, NORMALIZATION, applications_name, depth_of
from delg.importers.source import Arrays, Stored, WeightSource
from delg.importers.tensorflow_names import VariableNames

MEAN_BGR = np.array([103.939, 116.779, 123.68])
TOPS = ("predictions", "probs", "fc1000", "conv10")
HEADS = ("embedding_layer/", "local_head/", "classifier/", "att_fc/", "pooling/")
LEAVES = {2: CONVOLUTION, 4: NORMALIZATION}
NOTES = (
    "The first convolution is rewritten from BGR pixels less their mean to our input, (RGB - 128) / 128.",
    "keras.applications pads the stem by 3 and the pooling by 1 on every side and uses epsilon 1.001e-5; the released "
    "DELG network pads as TensorFlow's SAME and VALID and uses 1e-3, so the feature maps differ somewhat.",
)


@contextmanager
def open_h5(path: Path) -> Iterator[Any]:
    """The root group of an HDF5 file.

    Raises:
      InputError: the file is missing or broken.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"The weight file {path} does not exist.")
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is not a Keras HDF5 weight file: {error}") from error


def layers_of(path: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """The weights of a file of the first layout by layer: name and values, in the order of the layer's own list.

    Raises:
      InputError: it cannot be read, or is no file of that layout.
    """
    with open_h5(path) as file:
        group = file.get("model_weights", file)
        layers = {}
        for layer in map(_text, group.attrs.get("layer_names", list(group))):  # a name may lead into a group of a group
            inside = group[layer]
            if "weight_names" in inside.attrs:
                names = [_text(name) for name in inside.attrs["weight_names"]]
                layers[layer] = [(name, np.asarray(inside[name])) for name in names]
    if not layers:
        raise InputError(f"{path} is no weight file of Keras' first HDF5 layout: no layer lists its weights.")
    return layers


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _stored(array: np.ndarray) -> Stored:
    return Stored(array.shape, lambda: array)


def released_weights(path: Path) -> tuple[VariableNames, dict[str, Stored]]:
    """Weights of the released DELG saved as HDF5, by the names of their variables.

    Raises:
      InputError: as :func:`layers_of`.
    """
    stored = {name: _stored(array) for weights in layers_of(path).values() for name, array in weights}
    return VariableNames(stored), stored


def keras_applications(path: Path, block3_strides: bool | None = None) -> WeightSource:
    """ImageNet weights of ResNet-50 or ResNet-101, version 1, as first values of a backbone, or of SqueezeNet 1.1.

    Both spellings of the layers are read: ``conv2_block1_1_conv``, and ``res2a_branch2a`` of the older file.

    Args:
      path: an HDF5 file, with or without the classifier.
      block3_strides: of the model that is made.
    """
    layers = {name: weights for name, weights in layers_of(path).items() if weights and name not in TOPS}
    squeezenet = "fire2/squeeze1x1" in layers
    old = "res2a_branch2a" in layers
    stored: dict[str, Stored] = {}
    for layer, weights in layers.items():
        leaves = LEAVES.get(len(weights), tuple(f"{i}" for i in range(len(weights))))
        stored |= {f"{layer}/{leaf}": _stored(array) for leaf, (_, array) in zip(leaves, weights, strict=True)}

    def name(variable: str) -> str | None:
        if variable.startswith(HEADS):
            return None
        if squeezenet:
            return variable.replace("_", "/", 1)
        return variable if old else applications_name(variable)

    units = sum(layer.startswith("conv4_block") and layer.endswith("_1_conv") for layer in layers)
    return WeightSource(
        format="keras_applications",
        preset="squeezenet" if squeezenet else f"delg_{depth_of(units)}",
        overrides={} if block3_strides is None else {"block3_strides": block3_strides},
        files=(path,),
        stored=stored,
        name=name,
        finish=for_our_input,
        notes=NOTES[: 1 if squeezenet else None],
    )


def for_our_input(arrays: Arrays) -> Arrays:
    """``conv(128 x + 128 - mean)`` of BGR pixels as a convolution of ``x`` = ``(RGB - 128) / 128``."""
    kernel, bias = np.asarray(arrays["conv1/kernel"], np.float64), arrays["conv1/bias"]
    shifted = bias + np.einsum("hwio,i->o", kernel, 128.0 - MEAN_BGR)
    flipped = 128.0 * kernel[:, :, ::-1]
    return arrays | {"conv1/kernel": flipped.astype(np.float32), "conv1/bias": shifted.astype(np.float32)}
