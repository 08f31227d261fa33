"""XFeat: a small network for local features, and the reader of its released weights.

Source: Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024 (arXiv 2404.19174), and
the released code (verlab/accelerated_features).
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from delg.common.torch_file import state_dict
from delg.importers.source import Arrays, Stored, WeightSource
from delg.importers.strict import gather
from delg.keras_settings import own_settings
from delg.numerics import TORCH_EPSILON, l2_normalize

Tensor = Any
CELL = 8  # sides of the input are those of the maps times this
STEP = 32  # sides of the input are multiples of this
DIMENSION = 64
NORM_EPSILON = 1e-5
UNITS = {  # of each part: output channels, kernel size and stride of convolutions with batch normalisation and ReLU
    "block1": ((4, 3, 1), (8, 3, 2), (8, 3, 1), (24, 3, 2)),
    "block2": ((24, 3, 1), (24, 3, 1)),
    "block3": ((64, 3, 2), (64, 3, 1), (64, 1, 1)),
    "block4": ((64, 3, 2), (64, 3, 1), (64, 3, 1)),
    "block5": ((128, 3, 2), (128, 3, 1), (128, 3, 1), (64, 1, 1)),
    "block_fusion": ((64, 3, 1), (64, 3, 1)),
    "heatmap_head": ((64, 1, 1), (64, 1, 1)),
    "keypoint_head": ((64, 1, 1), (64, 1, 1), (64, 1, 1)),
}
PLAIN = {"skip1": (1, 24), "block_fusion": (2, 64), "heatmap_head": (2, 1), "keypoint_head": (3, CELL**2 + 1)}
"""Position in its part and output channels of each 1x1 convolution without normalisation."""
IGNORED = ("fine_matcher.", "num_batches_tracked")  # start and end of names: the refinement of matches, counters


class _Grey(layers.Layer):
    """RGB ``(B, H, W, 3)`` in 0..255 to the mean colour ``(B, H, W, 1)``, of mean 0 and variance 1 in each image."""

    def call(self, images: Tensor) -> Tensor:
        grey = ops.mean(images, axis=-1, keepdims=True) / 255.0
        mean = ops.mean(grey, axis=(1, 2), keepdims=True)
        variance = ops.mean(ops.square(grey - mean), axis=(1, 2), keepdims=True)
        return (grey - mean) / ops.sqrt(variance + NORM_EPSILON)

    def compute_output_shape(self, shape: Any) -> Any:
        return (*shape[:-1], 1)


class _SizeOf(layers.Layer):
    """Resizes the first map to the size of the second, bilinear with half-pixel centres."""

    def call(self, maps: Tensor, other: Tensor) -> Tensor:
        (_, *before, _), (_, *after, _) = ops.shape(maps), ops.shape(other)
        rows, columns = (_interpolation(count, of) for count, of in zip(after, before, strict=True))
        return ops.einsum("xj,byjc->byxc", columns, ops.einsum("yi,bijc->byjc", rows, maps))

    def compute_output_shape(self, maps_shape: Any, other_shape: Any) -> Any:
        return (maps_shape[0], *other_shape[1:3], maps_shape[3])


class _UnitNorm(layers.Layer):
    """L2-normalises the last axis."""

    def call(self, x: Tensor) -> Tensor:
        return l2_normalize(x, epsilon=TORCH_EPSILON)


def network() -> keras.Model:
    """The network with fresh weights.

    Returns:
      A model from RGB images ``(B, H, W, 3)`` float32 in 0..255, whose sides are multiples of 32, to a dict of maps
      float32, ``h = H / 8`` and ``w = W / 8``:

      - ``descriptors`` ``(B, h, w, 64)`` of unit norm
      - ``reliability`` ``(B, h, w)`` in 0..1
      - ``heat`` ``(B, h, w, 64)``: for the pixels of each cell, row by row, the probability of a keypoint
    """
    with own_settings("float32"):
        images = keras.Input((None, None, 3), name="images")
        grey = _Grey(name="grey")(images)
        skip = _plain(layers.AveragePooling2D(4, name="pool")(grey), "skip1")
        level2 = _units(_units(grey, "block1") + skip, "block2")
        level3 = _units(level2, "block3")
        level4 = _units(level3, "block4")
        level5 = _units(level4, "block5")
        pyramid = level3 + _SizeOf(name="resized4")(level4, level3) + _SizeOf(name="resized5")(level5, level3)
        maps = _plain(_units(pyramid, "block_fusion"), "block_fusion")
        reliability = ops.sigmoid(_plain(_units(maps, "heatmap_head"), "heatmap_head"))
        cells = layers.Conv2D(CELL**2, CELL, CELL, use_bias=False, trainable=False, name="cells")(grey)
        logits = _plain(_units(cells, "keypoint_head"), "keypoint_head")
        outputs = {
            "descriptors": _UnitNorm(name="unit_norm")(maps),
            "reliability": reliability[..., 0],
            "heat": ops.softmax(logits)[..., :-1],  # the last value stands for no keypoint in the cell
        }
        model = keras.Model(images, outputs, name="xfeat")
    model.get_layer("cells").set_weights([np.eye(CELL**2, dtype=np.float32).reshape(CELL, CELL, 1, -1)])
    return model


def load(path: Path) -> keras.Model:
    """The network with the weights of a released file, ``xfeat.pt``.

    Raises:
      InputError: the file cannot be read, or holds other weights; see :func:`delg.importers.strict.gather`.
    """
    tensors = state_dict(path)
    source = WeightSource(
        format="xfeat",
        preset="xfeat",
        overrides={},
        files=(path,),
        stored={
            name: Stored(tensor.shape, tensor.array)
            for name, tensor in tensors.items()
            if not (name.startswith(IGNORED[0]) or name.endswith(IGNORED[1]))
        },
        name=lambda name: name,
        torch_layout=True,
    )
    model = network()
    arrays = gather(source, _shapes(model))
    for part, units in UNITS.items():
        for i in range(len(units)):
            model.get_layer(f"{part}_{i}").set_weights(_folded(arrays, f"{part}.{i}.layer"))
    for part, (i, _) in PLAIN.items():
        model.get_layer(f"{part}_{i}").set_weights([arrays[f"{part}.{i}.{leaf}"] for leaf in ("weight", "bias")])
    return model


def _interpolation(count: Any, of: Any) -> Tensor:
    """``(count, of)`` weights that interpolate ``of`` cells linearly; the sizes may be unknown in a graph."""
    factor = ops.cast(of, "float32") / ops.cast(count, "float32")
    centres = (ops.cast(ops.arange(count), "float32") + 0.5) * factor - 0.5
    inside = ops.clip(centres, 0.0, ops.cast(of, "float32") - 1.0)
    return ops.relu(1.0 - ops.abs(inside[:, None] - ops.cast(ops.arange(of), "float32")))


def _units(x: Tensor, part: str) -> Tensor:
    """The convolutions of a part; PyTorch pads both sides alike, also at stride 2."""
    for i, (channels, kernel, stride) in enumerate(UNITS[part]):
        if kernel > 1:
            x = layers.ZeroPadding2D(kernel // 2, name=f"{part}_{i}_padding")(x)
        x = layers.Conv2D(channels, kernel, stride, activation="relu", name=f"{part}_{i}")(x)
    return x


def _plain(x: Tensor, part: str) -> Tensor:
    """The 1x1 convolution at the end of a part."""
    i, channels = PLAIN[part]
    return layers.Conv2D(channels, 1, name=f"{part}_{i}")(x)


def _shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights in our layout, by their names in the file."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part, units in UNITS.items():
        for i in range(len(units)):
            kernel, bias = model.get_layer(f"{part}_{i}").weights
            name = f"{part}.{i}.layer"
            statistics = dict.fromkeys((f"{name}.1.running_mean", f"{name}.1.running_var"), tuple(bias.shape))
            shapes |= {f"{name}.0.weight": tuple(kernel.shape)} | statistics
    for part, (i, _) in PLAIN.items():
        kernel, bias = model.get_layer(f"{part}_{i}").weights
        shapes |= {f"{part}.{i}.weight": tuple(kernel.shape), f"{part}.{i}.bias": tuple(bias.shape)}
    return shapes


def _folded(arrays: Arrays, name: str) -> list[np.ndarray]:
    """Kernel and bias of a convolution with its batch normalisation, which has no scale and no shift of its own."""
    factor = 1 / np.sqrt(arrays[f"{name}.1.running_var"] + NORM_EPSILON)
    return [arrays[f"{name}.0.weight"] * factor, -arrays[f"{name}.1.running_mean"] * factor]
