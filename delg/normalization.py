"""From RGB values to the input of a network, chosen by name."""

from typing import Any

import numpy as np
from keras import ops

from delg.common.spec import Table

Tensor = Any
BGR_MEAN = (0.406, 0.456, 0.485)
BGR_DEVIATION = (0.225, 0.224, 0.229)
SATELLITE_MEAN = (0.430, 0.411, 0.296)
SATELLITE_DEVIATION = (0.213, 0.156, 0.143)


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


def imagenet(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x / 255 - mean) / deviation`` of ImageNet, RGB (DINOv2, DINOv3)."""
    mean, deviation = np.array(BGR_MEAN[::-1], dtype), np.array(BGR_DEVIATION[::-1], dtype)
    return (ops.cast(images, dtype) / 255.0 - mean) / deviation


def satellite(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x / 255 - mean) / deviation`` of satellite images, RGB (DINOv3 trained on SAT-493M)."""
    mean, deviation = np.array(SATELLITE_MEAN, dtype), np.array(SATELLITE_DEVIATION, dtype)
    return (ops.cast(images, dtype) / 255.0 - mean) / deviation


def signed(images: Tensor, dtype: str = "float32") -> Tensor:
    """``(x / 255 - 0.5) / 0.5``, RGB (SigLIP)."""
    return (ops.cast(images, dtype) / 255.0 - 0.5) / 0.5


NORMALIZATIONS: Table = {
    "delg": delg,
    "efficientnet_lite": efficientnet_lite,
    "imagenet": imagenet,
    "imagenet_bgr": imagenet_bgr,
    "satellite": satellite,
    "signed": signed,
}
"""Each maps ``(..., 3)`` RGB values in 0..255 to the given dtype, in the same shape; so does ``module:function``."""
