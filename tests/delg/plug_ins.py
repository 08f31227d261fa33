"""Parts of a model as a user writes them: a tiny vision transformer, poolings, a local head, a classifier."""

import keras
from keras import layers, ops

from delg.backbones.base import Backbone
from delg.classifiers.cosine import CosineClassifier
from delg.geometry import Window
from delg.heads.base import LocalHead, MapFilter, TokenPooling


class Tokens(layers.Layer):
    """Patches ``(B, h, w, C)`` to tokens ``(B, 1 + h w, C)``, the class token first; positions are interpolated."""

    def __init__(self, grid: int, **kwargs):
        super().__init__(**kwargs)
        self.grid = grid

    def build(self, input_shape):
        width = input_shape[-1]
        self.class_token = self.add_weight(shape=(1, 1, width), initializer="normal", name="class_token")
        self.positions = self.add_weight(shape=(1, self.grid, self.grid, width), initializer="normal", name="positions")

    def call(self, patches):
        batch, rows, columns, width = ops.shape(patches)
        down, across = self.weights_of(rows), self.weights_of(columns)
        positions = ops.einsum("ri,sj,bijc->brsc", down, across, self.positions)
        x = ops.reshape(patches + positions, (batch, -1, width))
        return ops.concatenate([ops.broadcast_to(self.class_token, (batch, 1, width)), x], axis=1)

    def weights_of(self, count):
        """``(count, grid)``, linear; of tensors, as ``count`` is one in a graph for any image size."""
        count = ops.cast(count, "float32")
        centres = (ops.arange(count) + 0.5) * self.grid / count - 0.5
        cells = ops.arange(self.grid, dtype="float32")
        return ops.relu(1.0 - ops.abs(ops.clip(centres, 0, self.grid - 1)[:, None] - cells))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], None, input_shape[-1])


class Patches(layers.Layer):
    """The inverse of :class:`Tokens`: the tokens of the patches, rows by columns."""

    def call(self, tokens, patches):
        return ops.reshape(tokens[:, 1:], ops.shape(patches))

    def compute_output_shape(self, tokens_shape, patches_shape):
        return patches_shape


def vision_transformer(patch: int = 8, width: int = 16, heads: int = 2, blocks: int = 2, side: int | None = None):
    images = keras.Input((side, side, 3), name="images")
    patches = layers.Conv2D(width, patch, patch, name="patch_embedding")(images)
    x = Tokens(4, name="tokens")(patches)
    maps = {}
    for i in range(blocks):
        y = layers.LayerNormalization(name=f"layer{i}_norm1")(x)
        x = x + layers.MultiHeadAttention(heads, width // heads, name=f"layer{i}_attention")(y, y)
        y = layers.LayerNormalization(name=f"layer{i}_norm2")(x)
        y = layers.Dense(4 * width, activation="gelu", name=f"layer{i}_mlp1")(y)
        x = x + layers.Dense(width, name=f"layer{i}_mlp2")(y)
        maps[f"layer{i}"] = Patches(name=f"layer{i}_patches")(x, patches)
    levels = {name: (Window(patch, patch, "valid"),) for name in maps}
    model = keras.Model(images, maps | {"prefix": x[:, :1]}, name="backbone")
    return Backbone(model, levels, f"layer{blocks - 1}", "layer0", 16.0, tokens="prefix", image_side=side)


class TokenAndMean(TokenPooling):
    """Class token and mean of the patches, one after the other."""

    def call(self, x, tokens):
        return ops.concatenate([tokens[:, 0], ops.mean(x, axis=(1, 2))], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2 * input_shape[-1])


class Doubled(MapFilter):
    """Twice the feature map; accepts two cells or more."""

    cells = 2

    def call(self, x):
        return 2 * x


class NormHead(LocalHead):
    """Descriptors are the map, weighed by their norms."""

    def __init__(self, channels, **kwargs):
        super().__init__(channels, channels, channels, **kwargs)

    def call(self, x, training=False):
        target = ops.stop_gradient(x)
        return {
            "local_target": target,
            "local_descriptors": target,
            "attention": ops.norm(target, axis=-1),
            "attention_pooled": ops.mean(target, axis=(1, 2)),
        }


class PlainCosine(CosineClassifier):
    """Cosines without a margin."""

    def __init__(self, num_classes, scale=20.0, **kwargs):
        super().__init__(num_classes, scale, **kwargs)

    def penalized(self, cosine, labels):
        return self.scale * cosine


def unit_range(images, dtype="float32"):
    return ops.cast(images, dtype) / 255.0


def not_a_backbone():
    return keras.Sequential()
