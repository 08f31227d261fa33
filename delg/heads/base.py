"""What the model asks of its heads; a plug-in ``module:Class`` derives from one of these classes."""

from typing import Any

import keras

Tensor = Any


class TokenPooling(keras.layers.Layer):
    """A global pooling that also reads the tokens that belong to no patch, such as the class token.

    A pooling that reads the feature map alone is any Keras layer from ``(B, h, w, C)`` to ``(B, D)``. Both kinds state
    their output by ``compute_output_shape``, which gets the shape of the feature map.
    """

    def call(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Pools a feature map ``(B, h, w, C)`` and tokens ``(B, T, C)`` to ``(B, D)``."""
        raise NotImplementedError


class MapFilter(keras.layers.Layer):
    """A layer before the pooling that keeps the shape ``(B, h, w, C)`` of the feature map.

    Attributes:
      cells: smallest side of a feature map that the layer accepts.
    """

    cells: int = 1

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The input's."""
        return input_shape


class LocalHead(keras.layers.Layer):
    """Describes and weighs every cell of the local level.

    ``call(x, training)`` maps ``(B, h, w, channels)`` to a dict: ``local_descriptors`` ``(B, h, w, descriptor_dim)``,
    not normalised, ``attention`` ``(B, h, w)``, ``attention_pooled`` ``(B, pooled_dim)`` for the classifier,
    ``local_target`` = ``x`` as the losses see it, and optionally ``reconstruction`` ``(B, h, w, channels)``.

    Attributes:
      channels: channels of the feature map.
      descriptor_dim: length of the local descriptors.
      pooled_dim: length of ``attention_pooled``.
      reads: which outputs of the backbone besides the map ``call`` takes after it, in this order: ``"tokens"``
        ``(B, T, C)``, ``"attention"`` ``(B, h, w, A)`` or both; see :class:`delg.backbones.base.Backbone`.

    Args:
      channels: see above.
      descriptor_dim: see above.
      pooled_dim: see above.
    """

    reads: tuple[str, ...] = ()

    def __init__(self, channels: int, descriptor_dim: int, pooled_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels, self.descriptor_dim, self.pooled_dim = channels, descriptor_dim, pooled_dim

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """See the class."""
        raise NotImplementedError
