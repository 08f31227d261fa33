"""The local heads that can be chosen by name."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from delg.common.errors import InputError
from delg.heads.local import LocalHead
from delg.numerics import TORCH_EPSILON, l2_normalize

Tensor = Any


class PytorchLocalHead(keras.layers.Layer):
    """The local head of the PyTorch implementation of DELG (feymanpriv/DELG): one convolution, no autoencoder.

    ``y = bn(conv1(x))``; attention ``a = softplus(conv2(relu(y)))``; local descriptor ``a * y / |y|``, so before the
    ReLU. The feature map receives no gradient.

    Args:
      channels: channels ``C`` of the feature map.
      dim: length of the local descriptor and width of the attention (released: 512).
    """

    def __init__(self, channels: int, dim: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.dim = channels, dim
        self.conv1 = layers.Conv2D(dim, 1, name="conv1")
        self.bn = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="bn")
        self.conv2 = layers.Conv2D(1, 1, name="conv2")

    @property
    def descriptor_dim(self) -> int:
        """Length of the local descriptors."""
        return self.dim

    @property
    def pooled_dim(self) -> int:
        """Length of ``attention_pooled``."""
        return self.dim

    def build(self, input_shape: tuple) -> None:
        """Builds both convolutions and the normalisation."""
        inner = (*input_shape[:-1], self.dim)
        self.conv1.build(input_shape)
        self.bn.build(inner)
        self.conv2.build(inner)

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Describes and weighs every position of a feature map.

        Args:
          x: ``(B, h, w, C)``; the gradient is stopped here.
          training: batch statistics in the normalisation.

        Returns:
          A dict: ``local_descriptors`` ``(B, h, w, dim)``, whose norm is the attention, ``attention`` ``(B, h, w)``,
          ``attention_pooled`` ``(B, dim)`` = the mean of the descriptors, ``local_target`` = ``x`` without gradient.
        """
        target = ops.stop_gradient(x)
        y = self.bn(self.conv1(target), training=training)
        weights = ops.softplus(self.conv2(ops.relu(y)))
        descriptors = l2_normalize(y, epsilon=TORCH_EPSILON) * weights
        return {
            "local_target": target,
            "local_descriptors": descriptors,
            "attention": ops.squeeze(weights, -1),
            "attention_pooled": ops.mean(descriptors, axis=(1, 2)),
        }

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "channels": self.channels, "dim": self.dim}


def delg(channels: int, local_dim: int | None, attention_channels: int, *, stop_gradient: bool = True) -> LocalHead:
    """:class:`delg.heads.local.LocalHead`: the paper's, with an autoencoder unless ``local_dim`` is None."""
    if type(stop_gradient) is not bool:
        raise InputError(f"stop_gradient expects True or False. Received: {stop_gradient!r}")
    return LocalHead(channels, local_dim, attention_channels, stop_gradient=stop_gradient, name="local_head")


def delg_pytorch(channels: int, local_dim: int | None, attention_channels: int) -> PytorchLocalHead:
    """:class:`PytorchLocalHead`, whose descriptors have ``attention_channels`` values; ``local_dim`` has no meaning."""
    return PytorchLocalHead(channels, attention_channels, name="local_head")


LOCAL_HEADS: dict[str, Callable[..., keras.layers.Layer]] = {"delg": delg, "delg_pytorch": delg_pytorch}
