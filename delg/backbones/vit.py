"""Vision transformers for images of any size: DINOv2, DINOv3 and the vision tower of SigLIP, of parts that they share.

References:
  Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv 2010.11929; Oquab et al., DINOv2, arXiv 2304.07193; Darcet et
  al., Vision Transformers Need Registers, arXiv 2309.16588; Simeoni et al., DINOv3, arXiv 2508.10104; Zhai et al.,
  SigLIP, arXiv 2303.15343; Tschannen et al., SigLIP 2, arXiv 2502.14786.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from delg.backbones.base import Backbone
from delg.common.errors import InputError
from delg.geometry import Window
from delg.numerics import float32_at_least

Tensor = Any
Shape = tuple[int | None, ...]
PLAIN, OFFSET, ANTIALIASED, ROTARY = "plain", "offset", "antialiased", "rotary"
ROTARY_BASE = 100.0  # of DINOv3
QUERY, KEY, VALUE = "query", "key", "value"
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5))),  # ONNX has erf, not the erfc of TensorFlow's gelu
    "gelu_tanh": lambda x: ops.gelu(x, approximate=True),
    "silu": ops.silu,
}


@dataclass(frozen=True)
class Architecture:
    """What published vision transformers differ in.

    Attributes:
      width: channels ``D`` of a token.
      depth: number of blocks.
      heads: attention heads of a block; ``D`` is a multiple of them.
      hidden: width of the MLP between its layers.
      patch: side of a patch in pixels.
      grid: side in patches of the training image, for which positions are learned; without meaning for rotary ones.
      positions: how positions enter: ``"plain"``, ``"offset"`` and ``"antialiased"`` are learned and differ in their
        resizing to other grids, see :func:`interpolation`; ``"rotary"`` turns queries and keys, see :class:`Rotation`.
      class_token: one token comes before those of the patches.
      registers: further tokens between the class token and the patches, without positions.
      activation: of the MLP, one of :data:`ACTIVATIONS`.
      gated: the MLP multiplies its activations by a second projection (SwiGLU with ``"silu"``).
      biased: which of query, key and value have a bias.
      scaled: each branch of a block is scaled by a learned vector (LayerScale).
      epsilon: of layer normalisation.
    """

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int
    grid: int
    positions: str
    class_token: bool = True
    registers: int = 0
    activation: str = "gelu"
    gated: bool = False
    biased: tuple[str, ...] = (QUERY, KEY, VALUE)
    scaled: bool = True
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "hidden", "patch", "grid"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise InputError(f"The backbone's {name} expects 1 or more. Received: {getattr(self, name)!r}")
        if type(self.registers) is not int or self.registers < 0:
            raise InputError(f"The backbone's registers expects 0 or more. Received: {self.registers!r}")
        multiple = 4 if self.positions == ROTARY else 1
        if self.width % (self.heads * multiple):
            raise InputError(
                f"The backbone's width {self.width} is not a multiple of {multiple} times its {self.heads} heads."
            )
        kinds = (PLAIN, OFFSET, ANTIALIASED, ROTARY)
        if self.positions not in kinds:
            raise InputError(f"Unknown positions {self.positions!r}; the choices are {', '.join(kinds)}.")

    @property
    def prefix(self) -> int:
        """Number of tokens that belong to no patch."""
        return int(self.class_token) + self.registers


def vit(architecture: Architecture) -> Backbone:
    """Builds a vision transformer.

    Returns:
      The backbone. Its level ``"patches"`` ``(B, h, w, D)`` holds the patch tokens after the final normalisation, one
      for each whole patch; what remains of a side is not read. ``"tokens"`` ``(B, 1 + R, D)``, where there is a class
      token, holds it and the registers, and ``"attention"`` ``(B, h, w, heads)`` the attention that the class token
      pays to each patch in the last block.
    """
    a = architecture
    images = keras.Input((None, None, 3), name="images")
    patches = layers.Conv2D(a.width, a.patch, a.patch, name="patch_embedding")(images)
    grid = None if a.positions == ROTARY else a.grid
    x = Tokens(a.class_token, a.registers, grid, a.positions, name="embedding")(patches)
    rotation = Rotation(a.prefix, a.width // a.heads, name="rotation")(patches) if a.positions == ROTARY else None
    attention = None
    for i in range(a.depth):
        x, attention = Block(a, name=f"block{i}")(x, rotation)
    x = layers.LayerNormalization(epsilon=a.epsilon, name="norm")(x)
    outputs = {"patches": Patches(a.prefix, name="patches")(x, patches)}
    if a.class_token:
        outputs["tokens"] = x[:, : a.prefix]
        outputs["attention"] = ClassAttention(a.prefix, name="attention")(attention, patches)
    model = keras.Model(images, outputs, name="backbone")
    return Backbone(
        model,
        {"patches": (Window(a.patch, a.patch, "valid"),)},
        "patches",
        "patches",
        receptive_field=2.0 * a.patch,
        tokens="tokens" if a.class_token else None,
        attention="attention" if a.class_token else None,
    )


class Tokens(layers.Layer):
    """Patches ``(B, h, w, D)`` to tokens ``(B, 1 + R + h w, D)``: class token, registers, patches row by row.

    Positions are added to the class token and the patches, not to the registers. They are resized in float32.

    Args:
      class_token: whether there is one.
      registers: their number ``R``.
      grid: side of the grid that positions are learned for; None for no positions.
      kind: of resizing, see :func:`interpolation`.
    """

    def __init__(self, class_token: bool, registers: int, grid: int | None, kind: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_token, self.registers, self.grid, self.kind = class_token, registers, grid, kind

    def build(self, patches_shape: Shape) -> None:
        """Makes tokens and positions."""
        start, width, first = keras.initializers.TruncatedNormal(stddev=0.02), patches_shape[-1], int(self.class_token)
        weights = {
            "class": (1, width) if self.class_token else None,
            "registers": (self.registers, width) if self.registers else None,
            "positions": (first + self.grid**2, width) if self.grid else None,
        }
        self.vectors = {
            name: self.add_weight(shape=shape, initializer=start, autocast=False, name=name)
            for name, shape in weights.items()
            if shape
        }

    def positions(self, rows: Any, columns: Any) -> Tensor:
        """The positions of the patches of a grid, ``(rows, columns, D)`` float32."""
        assert self.grid is not None
        table = self.vectors["positions"][int(self.class_token) :]
        table = ops.reshape(table, (self.grid, self.grid, table.shape[-1]))
        same = ops.logical_and(ops.equal(rows, self.grid), ops.equal(columns, self.grid))
        down, across = (interpolation(count, self.grid, self.kind, same) for count in (rows, columns))
        return ops.einsum("ri,cj,ijd->rcd", down, across, table)

    def call(self, patches: Tensor) -> Tensor:
        """See the class."""
        batch, rows, columns, width = ops.shape(patches)
        own = {name: ops.convert_to_tensor(vector) for name, vector in self.vectors.items()}
        if self.grid:
            patches = patches + ops.cast(self.positions(rows, columns), patches.dtype)
            if self.class_token:
                own["class"] = own["class"] + own["positions"][:1]
        prefix = [own[name] for name in ("class", "registers") if name in own]
        tokens = [ops.broadcast_to(ops.cast(part, patches.dtype), (batch, *part.shape)) for part in prefix]
        return ops.concatenate([*tokens, ops.reshape(patches, (batch, -1, width))], axis=1)

    def compute_output_shape(self, patches_shape: Shape) -> Shape:
        """``(B, T, D)``."""
        batch, rows, columns, width = patches_shape
        prefix = int(self.class_token) + self.registers
        return (batch, prefix + rows * columns if rows and columns else None, width)


def interpolation(count: Any, grid: int, kind: str, same: Tensor) -> Tensor:
    """``(count, grid)`` float32 weights of bicubic interpolation along one axis, from ``grid`` cells to ``count``.

    The published models resize in three ways. ``"plain"`` (DINOv2 without registers and SigLIP in transformers): the
    kernel of parameter -0.75 on four cells, indices held at the border. ``"offset"`` (DINOv2 without registers in its
    own repository): likewise, for ``count + 0.1`` cells unless the grid is the learned one. ``"antialiased"`` (DINOv2
    with registers): parameter -0.5, the kernel widened where the grid shrinks, weights divided by their sum.

    Args:
      count: number of cells, which a graph for any image size knows as a tensor alone.
      grid: number of learned cells.
      kind: see above.
      same: whether both sides of the grid are the learned ones.
    """
    cells = ops.arange(grid, dtype="float32")
    middles = ops.cast(ops.arange(count), "float32") + 0.5
    target = ops.cast(count, "float32")
    if kind == ANTIALIASED:
        ratio = grid / target
        spread = ops.maximum(ratio, 1.0)
        weights = cubic((cells + 0.5 - middles[:, None] * ratio) / spread, -0.5)
        return weights / ops.sum(weights, axis=1, keepdims=True)
    if kind == OFFSET:
        target = target + 0.1 * ops.cast(ops.logical_not(same), "float32")
    centres = middles * (grid / target) - 0.5
    weights, first = 0.0, ops.floor(centres)
    for tap in (-1.0, 0.0, 1.0, 2.0):
        cell = ops.clip(first + tap, 0.0, grid - 1.0)
        share = cubic(centres - (first + tap), -0.75)
        weights = weights + share[:, None] * ops.cast(ops.equal(cell[:, None], cells), "float32")
    return weights


def cubic(t: Tensor, a: float) -> Tensor:
    """The cubic convolution kernel of Keys (1981) with parameter ``a``; 0 beyond a distance of 2."""
    t = ops.abs(t)
    near = ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    far = ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    return ops.where(t <= 1.0, near, ops.where(t < 2.0, far, 0.0))


class Rotation(layers.Layer):
    """Cosines and sines of rotary positions, ``(2, 1 + R + h w, d)``, for a grid of patches (DINOv3).

    A coordinate of a patch is that of its centre between -1 and 1 along each axis. The angles are ``2 pi`` times ``y``
    and then ``x``, each times ``d / 4`` frequencies ``100^(-4 k / d)``, and all of these twice. Tokens that belong to
    no patch have the angle 0.

    Args:
      prefix: number of these tokens.
      size: values ``d`` of a query in one head.
    """

    def __init__(self, prefix: int, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prefix, self.size = prefix, size

    def call(self, patches: Tensor) -> Tensor:
        """See the class; only the shape ``(B, h, w, D)`` is read."""
        _, rows, columns, _ = ops.shape(patches)
        step = ops.arange(self.size // 4, dtype="float32") * (4.0 / self.size)
        frequencies = ops.exp(step * -math.log(ROTARY_BASE)) * (2.0 * math.pi)
        y, x = (self._coordinates(count)[:, None] * frequencies for count in (rows, columns))
        shape = (rows, columns, self.size // 4)
        angles = [ops.broadcast_to(y[:, None], shape), ops.broadcast_to(x[None], shape)]
        angles = ops.reshape(ops.concatenate(2 * angles, axis=-1), (-1, self.size))
        angles = ops.pad(angles, ((self.prefix, 0), (0, 0)))
        return ops.stack([ops.cos(angles), ops.sin(angles)])

    def _coordinates(self, count: Any) -> Tensor:
        middles = ops.cast(ops.arange(count), "float32") + 0.5
        return 2.0 * (middles / ops.cast(count, "float32")) - 1.0

    def compute_output_shape(self, patches_shape: Shape) -> Shape:
        """``(2, T, d)``."""
        _, rows, columns, _ = patches_shape
        return (2, self.prefix + rows * columns if rows and columns else None, self.size)


class Attention(layers.Layer):
    """Multi-head attention ``softmax(q k^T / sqrt(d)) v``, projected (arXiv 1706.03762, section 3.2).

    Args:
      width: channels ``D``.
      heads: their number; ``d = D / heads``.
      biased: which of query, key and value have a bias.
    """

    def __init__(self, width: int, heads: int, biased: tuple[str, ...] = (QUERY, KEY, VALUE), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.query, self.key, self.value = (
            layers.Dense(width, use_bias=name in biased, name=name) for name in (QUERY, KEY, VALUE)
        )
        self.projection = layers.Dense(width, name="projection")

    def build(self, x_shape: Shape, context_shape: Shape | None = None, rotation_shape: Shape | None = None) -> None:
        """Builds the projections."""
        for layer in (self.query, self.key, self.value, self.projection):
            layer.build(x_shape)

    def call(self, x: Tensor, context: Tensor | None = None, rotation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attends to tokens.

        Args:
          x: ``(B, N, D)``, of which queries are made.
          context: ``(B, T, D)``, of which keys and values are made; None for ``x``.
          rotation: of :class:`Rotation`, which turns queries and keys; None for none.

        Returns:
          ``(B, N, D)``, and the attention ``(B, heads, N, T)``.
        """
        context = x if context is None else context
        query = self._of_heads(self.query(x), x)
        key, value = (self._of_heads(layer(context), context) for layer in (self.key, self.value))
        if rotation is not None:
            query, key = turned(query, rotation), turned(key, rotation)
        scores = ops.matmul(query * (self.width // self.heads) ** -0.5, ops.transpose(key, (0, 1, 3, 2)))
        attention = ops.softmax(float32_at_least(scores), axis=-1)
        joined = ops.transpose(ops.matmul(ops.cast(attention, value.dtype), value), (0, 2, 1, 3))
        return self.projection(ops.reshape(joined, ops.shape(x))), attention

    def _of_heads(self, projected: Tensor, tokens: Tensor) -> Tensor:
        """``(B, T, D)`` to ``(B, heads, T, d)``; the shape is that of the tokens, as tf2onnx loses the other one."""
        batch, count, _ = ops.shape(tokens)
        split = ops.reshape(projected, (batch, count, self.heads, self.width // self.heads))
        return ops.transpose(split, (0, 2, 1, 3))


def turned(x: Tensor, rotation: Tensor) -> Tensor:
    """``x cos + R(x) sin`` with ``R(x) = [-second half, first half]`` along the last axis, ``(B, heads, T, d)``."""
    first, second = ops.split(x, 2, axis=-1)
    cosines, sines = ops.cast(rotation[0], x.dtype), ops.cast(rotation[1], x.dtype)
    return x * cosines + ops.concatenate([-second, first], axis=-1) * sines


class Mlp(layers.Layer):
    """``down(activation(up(x)))``, or gated ``down(activation(gate(x)) * up(x))`` (arXiv 2002.05202).

    Args:
      width: channels ``D``.
      hidden: channels between the layers.
      activation: one of :data:`ACTIVATIONS`.
      gated: see above.
    """

    def __init__(self, width: int, hidden: int, activation: str, gated: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation, self.hidden = activation, hidden
        self.gate = layers.Dense(hidden, name="gate") if gated else None
        self.up = layers.Dense(hidden, name="up")
        self.down = layers.Dense(width, name="down")

    def build(self, x_shape: Shape) -> None:
        """Builds the projections."""
        for layer in (self.gate, self.up):
            if layer is not None:
                layer.build(x_shape)
        self.down.build((*x_shape[:-1], self.hidden))

    def call(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to the same shape."""
        activation = ACTIVATIONS[self.activation]
        inner = activation(self.up(x)) if self.gate is None else activation(self.gate(x)) * self.up(x)
        return self.down(inner)


class LayerScale(layers.Layer):
    """A factor for each channel (arXiv 2103.17239)."""

    def build(self, x_shape: Shape) -> None:
        """Makes the factors."""
        self.factors = self.add_weight(shape=(x_shape[-1],), initializer="ones", name="factors")

    def call(self, x: Tensor) -> Tensor:
        """``(B, T, D)`` to the same shape."""
        return x * self.factors


class Block(layers.Layer):
    """``x += s1 Attention(norm1(x))``, then ``x += s2 Mlp(norm2(x))``.

    Args:
      architecture: of the transformer.
    """

    def __init__(self, architecture: Architecture, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        a = self.architecture = architecture
        self.norm1, self.norm2 = (layers.LayerNormalization(epsilon=a.epsilon, name=f"norm{i}") for i in (1, 2))
        self.attention = Attention(a.width, a.heads, a.biased, name="attention")
        self.mlp = Mlp(a.width, a.hidden, a.activation, a.gated, name="mlp")
        self.scale1, self.scale2 = (LayerScale(name=f"scale{i}") if a.scaled else None for i in (1, 2))

    def build(self, x_shape: Shape, rotation_shape: Shape | None = None) -> None:
        """Builds the parts."""
        for layer in (self.norm1, self.attention, self.scale1, self.norm2, self.mlp, self.scale2):
            if layer is not None:
                layer.build(x_shape)

    def call(self, x: Tensor, rotation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``(B, T, D)`` to the same shape, and the attention of the first token, ``(B, heads, T)``."""
        branch, attention = self.attention(self.norm1(x), rotation=rotation)
        x = x + (branch if self.scale1 is None else self.scale1(branch))
        branch = self.mlp(self.norm2(x))
        return x + (branch if self.scale2 is None else self.scale2(branch)), attention[:, :, 0]

    def compute_output_shape(self, x_shape: Shape, rotation_shape: Shape | None = None) -> tuple[Shape, Shape]:
        """``(B, T, D)`` and ``(B, heads, T)``."""
        return x_shape, (x_shape[0], self.architecture.heads, x_shape[1])


class Patches(layers.Layer):
    """Tokens ``(B, T, D)`` without the first ones, as a map ``(B, h, w, D)``; the second input gives its shape.

    Args:
      prefix: number of tokens that belong to no patch.
    """

    def __init__(self, prefix: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.prefix = prefix

    def call(self, x: Tensor, patches: Tensor) -> Tensor:
        """See the class."""
        return ops.reshape(x[:, self.prefix :], ops.shape(patches))

    def compute_output_shape(self, x_shape: Shape, patches_shape: Shape) -> Shape:
        """That of the patches."""
        return patches_shape


class ClassAttention(Patches):
    """Attention of the class token ``(B, heads, T)`` as a map ``(B, h, w, heads)``."""

    def call(self, x: Tensor, patches: Tensor) -> Tensor:
        """See the class."""
        batch, rows, columns, _ = ops.shape(patches)
        return ops.reshape(ops.transpose(x, (0, 2, 1))[:, self.prefix :], (batch, rows, columns, x.shape[1]))

    def compute_output_shape(self, x_shape: Shape, patches_shape: Shape) -> Shape:
        """``(B, h, w, heads)``."""
        return (*patches_shape[:-1], x_shape[1])


class AttentionPooling(layers.Layer):
    """The pooling of SigLIP: a learned query attends to all cells; ``a + Mlp(norm(a))`` of the result ``a``.

    Args:
      heads: of the attention.
      hidden: width of the MLP.
    """

    def __init__(self, heads: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.hidden = heads, hidden

    def build(self, x_shape: Shape) -> None:
        """Makes the parts."""
        width: Any = x_shape[-1]
        self.probe = self.add_weight(shape=(1, width), initializer="glorot_uniform", name="probe")
        self.attention = Attention(width, self.heads, name="attention")
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.mlp = Mlp(width, self.hidden, "gelu_tanh", name="mlp")
        for layer in (self.attention, self.norm, self.mlp):
            layer.build((None, 1, width))

    def call(self, x: Tensor) -> Tensor:
        """Pools ``(B, h, w, D)`` to ``(B, D)``."""
        batch, _, _, width = ops.shape(x)
        probe = ops.broadcast_to(ops.cast(self.probe, x.dtype), (batch, 1, width))
        attended, _ = self.attention(probe, ops.reshape(x, (batch, -1, width)))
        return (attended + self.mlp(self.norm(attended)))[:, 0]

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        """``(B, D)``."""
        return (x_shape[0], x_shape[-1])


def attention_pooling(heads: int = 12, hidden: int = 3072) -> AttentionPooling:
    """:class:`AttentionPooling`."""
    for name, value in (("heads", heads), ("hidden", hidden)):
        if type(value) is not int or value < 1:
            raise InputError(f"The pooling's {name} expects 1 or more. Received: {value!r}")
    return AttentionPooling(heads, hidden, name="pooling")
