"""ImageNet weights for a ResNet-50 backbone from the classic Keras file (``resnet50_weights_tf_dim_ordering...h5``)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from protos.errors import InputError

MEAN_BGR = np.array([103.939, 116.779, 123.68])


def load_imagenet(model: Any, path: str | os.PathLike[str]) -> None:
    """Assigns the weights of every backbone layer by the layer's name.

    The file was trained on BGR pixels less their mean; the first convolution is rewritten for the input of this model,
    ``(RGB - 128) / 128``. (The released code feeds that input to the unchanged weights, and leaves out ``conv1`` and
    ``bn_conv1``.)

    Args:
      model: a :class:`delg.model.Delg`.
      path: an HDF5 file.

    Raises:
      InputError: the file cannot be read, or lacks or misfits a layer of the backbone.
    """
    found = _read(path)
    layers = [layer for layer in model.backbone.layers if layer.weights]
    for layer in layers:
        values = found.get(layer.name)
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if values is None or [value.shape for value in values] != shapes:
            there = [value.shape for value in values] if values is not None else "no such layer"
            raise InputError(f"{path} does not fit the backbone: {layer.name} needs {shapes}, the file has {there}.")
    for layer in layers:
        values = found[layer.name]
        layer.set_weights(_for_our_input(*values) if layer.name == "conv1" else values)


def _for_our_input(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """``conv(128 x + 128 - mean)`` in BGR as a convolution of ``x`` in RGB."""
    shifted = bias + np.einsum("hwio,i->o", kernel, 128.0 - MEAN_BGR)
    return [128.0 * kernel[:, :, ::-1], shifted]


def _read(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Weights by layer, in the order in which the file lists them."""
    import h5py

    if not Path(path).is_file():
        raise InputError(f"The ImageNet weights {path} do not exist.")
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            return {name: list(_weights(layer)) for name, layer in group.items() if "weight_names" in layer.attrs}
    except (OSError, KeyError) as error:
        raise InputError(f"{path} is not a Keras HDF5 weight file: {error}") from error


def _weights(layer: Any) -> Iterator[np.ndarray]:
    for name in layer.attrs["weight_names"]:
        yield np.asarray(layer[name.decode() if isinstance(name, bytes) else name])
