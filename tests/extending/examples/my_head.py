"""Both heads of a model: a pooling that reads the class token, and a local head of one convolution."""

from keras import layers, ops

from delg.heads.base import LocalHead, TokenPooling


class TokenAndMean(TokenPooling):
    """Global head: the class token and the mean of the patches, one after the other."""

    def call(self, x, tokens):
        return ops.concatenate([tokens[:, 0], ops.mean(x, axis=(1, 2))], axis=-1)

    def compute_output_shape(self, shape):
        return (shape[0], 2 * shape[-1])


class ShortHead(LocalHead):
    """Local head: a 1x1 convolution to ``dim`` values, whose norm is the attention.

    The model gives ``channels``; ``dim`` is the argument that ``my_head:ShortHead(dim=16)`` sets.
    """

    def __init__(self, channels: int, dim: int = 16, **kwargs):
        super().__init__(channels, descriptor_dim=dim, pooled_dim=channels, **kwargs)
        self.projection = layers.Conv2D(dim, 1, name="projection")

    def build(self, shape):
        self.projection.build(shape)

    def call(self, x, training=False):
        target = ops.stop_gradient(x)  # the backbone learns from the global head alone
        descriptors = self.projection(target)
        attention = ops.sqrt(ops.sum(ops.square(descriptors), axis=-1) + 1e-12)  # (B, h, w)
        return {
            "local_target": target,
            "local_descriptors": descriptors,
            "attention": attention,
            "attention_pooled": ops.mean(target * attention[..., None], axis=(1, 2)),
        }
