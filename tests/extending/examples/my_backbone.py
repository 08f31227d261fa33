"""A small vision transformer as a backbone: a class token, position embeddings, and patch tokens."""

import keras
from keras import layers, ops

from delg.backbones.base import Backbone
from delg.geometry import Window

GRID = 8  # position embeddings are learned for 8 x 8 patches and interpolated to other numbers of patches


class Tokens(layers.Layer):
    """Patches ``(B, h, w, C)`` to tokens ``(B, 1 + h w, C)``: the class token, then the patches row by row."""

    def build(self, shape):
        self.class_token = self.add_weight(shape=(1, 1, shape[-1]), initializer="normal", name="class_token")
        self.positions = self.add_weight(shape=(GRID, GRID, shape[-1]), initializer="normal", name="positions")

    def call(self, patches):
        batch, rows, columns, width = ops.shape(patches)
        positions = ops.einsum("ri,cj,ijw->rcw", interpolation(rows), interpolation(columns), self.positions)
        tokens = ops.reshape(patches + positions, (batch, -1, width))
        return ops.concatenate([ops.broadcast_to(self.class_token, (batch, 1, width)), tokens], axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], None, shape[-1])


class Patches(layers.Layer):
    """The inverse of :class:`Tokens` without the class token; the second input gives the shape."""

    def call(self, tokens, patches):
        return ops.reshape(tokens[:, 1:], ops.shape(patches))

    def compute_output_shape(self, tokens_shape, patches_shape):
        return patches_shape


def interpolation(count):
    """``(count, GRID)`` weights of linear interpolation; by operations alone, as sizes may be unknown in a graph."""
    count = ops.cast(count, "float32")
    centres = ops.clip((ops.arange(count) + 0.5) * GRID / count - 0.5, 0, GRID - 1)
    return ops.relu(1.0 - ops.abs(centres[:, None] - ops.arange(GRID, dtype="float32")))


def tiny_transformer(patch: int = 8, width: int = 32, heads: int = 2, depth: int = 2) -> Backbone:
    """``early`` is the local level, ``late`` the global level, ``prefix`` the class token."""
    images = keras.Input((None, None, 3), name="images")
    patches = layers.Conv2D(width, patch, patch, name="patches")(images)
    x, maps = Tokens(name="tokens")(patches), {}
    for i in range(depth):
        y = layers.LayerNormalization(name=f"norm{i}a")(x)
        x = x + layers.MultiHeadAttention(heads, width // heads, name=f"attention{i}")(y, y)
        y = layers.Dense(4 * width, activation="gelu", name=f"mlp{i}a")(layers.LayerNormalization(name=f"norm{i}b")(x))
        x = x + layers.Dense(width, name=f"mlp{i}b")(y)
        maps["early" if i < depth - 1 else "late"] = Patches(name=f"map{i}")(x, patches)
    levels = {name: (Window(patch, patch, "valid"),) for name in maps}
    model = keras.Model(images, maps | {"prefix": x[:, :1]}, name="backbone")
    return Backbone(model, levels, "late", "early", receptive_field=2.0 * patch, tokens="prefix")
