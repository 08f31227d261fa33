"""Local heads: attention over cells, and an autoencoder of the descriptors (arXiv 2001.05027, section 3)."""

from typing import Any

import keras
from keras import layers, ops

from delg.common.errors import InputError
from delg.common.spec import Table
from delg.heads.base import LocalHead
from delg.numerics import TORCH_EPSILON, float32_at_least, l2_normalize

Tensor = Any
SCORES: dict[str, tuple[str, ...]] = {"attention": ("attention",), "cosine": ("tokens",), "norm": ()}  # what each reads


class Autoencoder(keras.layers.Layer):
    """Two 1x1 convolutions: ``C -> dim`` (linear, the local descriptor) and ``dim -> C`` with ReLU (reconstruction).

    Args:
      dim: length of the local descriptor.
      channels: channels ``C`` of the feature map.
    """

    def __init__(self, dim: int, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.channels = dim, channels
        self.encoder = layers.Conv2D(dim, 1, name="autoenc_conv1")
        self.decoder = layers.Conv2D(channels, 1, activation="relu", name="autoenc_conv2")

    def build(self, input_shape: tuple) -> None:
        """Builds both convolutions."""
        self.encoder.build(input_shape)
        self.decoder.build((*input_shape[:-1], self.dim))

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, h, w, C)`` to descriptors ``(B, h, w, dim)``, not normalised, and their reconstruction."""
        descriptors = self.encoder(x)
        return descriptors, self.decoder(descriptors)

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "dim": self.dim, "channels": self.channels}


class Attention(keras.layers.Layer):
    """``softplus(conv1x1(relu(bn(conv1x1(x)))))``: one score per position, at least 0 and not bounded above.

    Args:
      channels: width of the hidden layer (released: 512).
    """

    def __init__(self, channels: int = 512, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.hidden = layers.Conv2D(channels, 1, name="attn_conv1")
        self.normalization = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name="bn_conv1")
        self.score = layers.Conv2D(1, 1, name="attn_conv2")

    def build(self, input_shape: tuple) -> None:
        """Builds both convolutions and the normalisation."""
        inner = (*input_shape[:-1], self.channels)
        self.hidden.build(input_shape)
        self.normalization.build(inner)
        self.score.build(inner)

    def scores(self, x: Tensor, training: bool = False) -> Tensor:
        """The value before softplus, ``(B, h, w, 1)``."""
        return self.score(ops.relu(self.normalization(self.hidden(x), training=training)))

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """``(B, h, w, C)`` to ``(B, h, w, 1)``."""
        return ops.softplus(self.scores(x, training))

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "channels": self.channels}


class DelgLocalHead(LocalHead):
    """Attention and autoencoder on a feature map that receives no gradient from them unless ``stop_gradient`` is False.

    With the autoencoder the attention reads its reconstruction, as released; without it the map itself, whose
    vectors then are the local descriptors.

    Args:
      channels: channels ``C`` of the feature map.
      dim: length of the local descriptor; None for no autoencoder.
      attention_channels: hidden width of the attention.
      stop_gradient: False lets the losses of the head train the backbone too, which the paper shows to be worse
        (arXiv 2001.05027, section 3.3); of no meaning outside training.
    """

    def __init__(
        self,
        channels: int,
        dim: int | None = 128,
        attention_channels: int = 512,
        *,
        stop_gradient: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(channels, dim or channels, channels, **kwargs)
        self.dim, self.attention_channels = dim, attention_channels
        self.stop_gradient = stop_gradient
        self.autoencoder = Autoencoder(dim, channels, name="autoencoder") if dim else None
        self.attention = Attention(attention_channels, name="attention")

    def build(self, input_shape: tuple) -> None:
        """Builds the parts."""
        if self.autoencoder is not None:
            self.autoencoder.build(input_shape)
        self.attention.build(input_shape)

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Describes and weighs every position of a feature map.

        Args:
          x: ``(B, h, w, C)``; the gradient is stopped here unless ``stop_gradient`` is False.
          training: batch statistics in the attention's normalisation.

        Returns:
          A dict: ``local_descriptors`` ``(B, h, w, d)`` not normalised, ``attention`` ``(B, h, w)``,
          ``attention_pooled`` ``(B, C)`` = the mean over positions of ``attention * x / |x|``, ``local_target`` =
          ``x``, and with the autoencoder ``reconstruction`` ``(B, h, w, C)``.
        """
        target = ops.stop_gradient(x) if self.stop_gradient else x
        outputs = {"local_target": target}
        if self.autoencoder is None:
            descriptors = attended = target
        else:
            descriptors, attended = self.autoencoder(target)
            outputs["reconstruction"] = attended
        weights = self.attention(attended, training=training)
        pooled = ops.mean(l2_normalize(target) * weights, axis=(1, 2))
        return outputs | {
            "local_descriptors": descriptors,
            "attention": ops.squeeze(weights, -1),
            "attention_pooled": pooled,
        }

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        names = ("channels", "dim", "attention_channels", "stop_gradient")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class PytorchLocalHead(LocalHead):
    """The local head of the PyTorch implementation of DELG (feymanpriv/DELG): one convolution, no autoencoder.

    ``y = bn(conv1(x))``; attention ``a = softplus(conv2(relu(y)))``; local descriptor ``a * y / |y|``, so before the
    ReLU. The feature map receives no gradient.

    Args:
      channels: channels ``C`` of the feature map.
      dim: length of the local descriptor and width of the attention (released: 512).
    """

    def __init__(self, channels: int, dim: int = 512, **kwargs: Any) -> None:
        super().__init__(channels, dim, dim, **kwargs)
        self.dim = dim
        self.conv1 = layers.Conv2D(dim, 1, name="conv1")
        self.bn = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="bn")
        self.conv2 = layers.Conv2D(1, 1, name="conv2")

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


class TokenHead(LocalHead):
    """The patch tokens of a transformer as local descriptors, ranked without any weight.

    Source: the ranking by the class token's attention and by the cosine with it are those of DINO's visualisations
    (arXiv 2104.14294, figure 1) and of ELViS without a detector.

    Args:
      channels: channels ``C`` of the feature map.
      score: ``"attention"``, the mean over heads of the attention that the class token pays to a patch; ``"cosine"``,
        the cosine with the class token; ``"norm"``, the norm of the token, of any backbone.

    Raises:
      ValueError: an unknown score.
    """

    def __init__(self, channels: int, score: str = "attention", **kwargs: Any) -> None:
        super().__init__(channels, channels, channels, **kwargs)
        if score not in SCORES:
            raise ValueError(f"score expects one of {', '.join(SCORES)}. Received: {score!r}")
        self.score, self.reads = score, SCORES[score]

    def call(  # type: ignore[override]
        self, x: Tensor, judge: Tensor = None, training: bool = False
    ) -> dict[str, Tensor]:
        """Describes and weighs every position of a feature map.

        Args:
          x: ``(B, h, w, C)``; the gradient is stopped here.
          judge: what the score reads, attention ``(B, h, w, A)`` or tokens ``(B, T, C)``; None for the norm.
          training: has no effect.

        Returns:
          A dict: ``local_descriptors`` and ``local_target`` = ``x`` without gradient, ``attention`` ``(B, h, w)``, and
          ``attention_pooled`` ``(B, C)`` = the mean over positions of ``attention * x / |x|``.
        """
        target = ops.stop_gradient(x)
        directions = l2_normalize(float32_at_least(target))
        if judge is None:
            weights = ops.sqrt(ops.sum(ops.square(float32_at_least(target)), axis=-1))
        elif self.score == "attention":
            weights = ops.mean(float32_at_least(ops.stop_gradient(judge)), axis=-1)
        else:
            token = l2_normalize(float32_at_least(ops.stop_gradient(judge[:, 0])))
            weights = ops.sum(directions * token[:, None, None], axis=-1)
        return {
            "local_target": target,
            "local_descriptors": target,
            "attention": weights,
            "attention_pooled": ops.mean(directions * weights[..., None], axis=(1, 2)),
        }

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return {**super().get_config(), "channels": self.channels, "score": self.score}


def delg(channels: int, local_dim: int | None, attention_channels: int, *, stop_gradient: bool = True) -> DelgLocalHead:
    """:class:`DelgLocalHead`: the paper's, with an autoencoder unless ``local_dim`` is None."""
    if type(stop_gradient) is not bool:
        raise InputError(f"stop_gradient expects True or False. Received: {stop_gradient!r}")
    return DelgLocalHead(channels, local_dim, attention_channels, stop_gradient=stop_gradient, name="local_head")


def delg_pytorch(channels: int, local_dim: int | None, attention_channels: int) -> PytorchLocalHead:
    """:class:`PytorchLocalHead`, whose descriptors have ``attention_channels`` values; ``local_dim`` has no meaning."""
    return PytorchLocalHead(channels, attention_channels, name="local_head")


def tokens(channels: int, score: str = "attention") -> TokenHead:
    """:class:`TokenHead`, whose descriptors have the channels of the backbone; ``local_dim`` has no meaning."""
    return TokenHead(channels, score, name="local_head")


LOCAL_HEADS: Table = {"delg": delg, "delg_pytorch": delg_pytorch, "tokens": tokens}
