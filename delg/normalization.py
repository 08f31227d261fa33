"""From RGB values to the input of a network, chosen by name."""

from typing import Any

import numpy as np
from keras import ops

from delg.common.spec import Table

Tensor = Any
BGR_MEAN = (0.406, 0.456, 0.485)
BGR_DEVIATION = (0.225, 0.224, 0.229)


def delg(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x - 128) / 128``, RGB (released DELG)."""
    return (ops.cast(images, dtype) - 128.0) / 128.0


def efficientnet_lite(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x - 127) / 128``, RGB (the TensorFlow code of EfficientNet-Lite)."""
    return (ops.cast(images, dtype) - 127.0) / 128.0


def imagenet_bgr(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x / 255 - mean) / deviation`` of ImageNet, channels in the order BGR (CVNet, SuperGlobal, DELG in PyTorch)."""
    bgr = ops.flip(ops.cast(images, dtype), axis=-1)
    return (bgr / 255.0 - np.array(BGR_MEAN, dtype)) / np.array(BGR_DEVIATION, dtype)


NORMALIZATIONS: Table = {
    "delg": delg,
    "efficientnet_lite": efficientnet_lite,
    "imagenet_bgr": imagenet_bgr,
}
"""Each maps ``(..., 3)`` RGB values in 0..255 to the given dtype, in the same shape; so does ``module:function``."""
