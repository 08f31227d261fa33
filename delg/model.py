"""The unified model: one backbone, a global head and a local head (DELG, arXiv 2001.05027)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from delg.backbones.base import Backbone
from delg.backbones.table import build_backbone
from delg.classifiers.cosine import CosineClassifier
from delg.classifiers.linear import LinearClassifier
from delg.classifiers.table import CLASSIFIERS
from delg.common.errors import InputError
from delg.common.spec import build, factory_of
from delg.geometry import cell_centres
from delg.heads.base import LocalHead, TokenPooling
from delg.heads.local import LOCAL_HEADS
from delg.heads.pooling import build_pooling
from delg.keras_settings import own_settings
from delg.normalization import NORMALIZATIONS
from delg.numerics import TORCH_EPSILON, full_precision, l2_normalize

Tensor = Any
HEADS = ("global", "local")


class Delg(keras.Model):
    """Global and local features from one pass.

    The global head is ``pooling -> embedding_layer`` on the global level of the backbone; the local head reads the
    local level and sends no gradient back. The classifiers exist when ``num_classes`` is given and take part in
    training only. Backbone, pooling, normalisation, local head and classifier may be ``module:Class`` of your own.

    Args:
      backbone: a choice of :data:`delg.backbones.table.BACKBONES`, such as ``"resnet50"``.
      pooling: a choice of :data:`delg.heads.pooling.POOLINGS`, such as ``"gem(p=3.0)"``, after filters of the
        feature map where wanted, such as ``"regional_gem, gem(p=4.6)"``.
      embedding_dim: length ``D`` of the global descriptor, the output of the whitening layer; None for no such layer:
        the descriptor is the pooled vector.
      local_dim: length of the local descriptor; None for no autoencoder. Of the local head ``"delg"``.
      attention_channels: hidden width of the attention; with ``"delg_pytorch"`` also length of the local descriptor.
      num_classes: classes of the training set, or None.
      arcface_margin: angular margin in radians.
      arcface_scale: factor of the cosines.
      block3_strides: thin the local map by 2, as in the released training; of a backbone that has this argument.
      extraction: how features are extracted unless the user says otherwise: ``image_scales``, ``global_scales_ind``
        (indices into them), ``max_image_size``, ``max_feature_num`` and the other fields of
        ``extraction.config.ExtractionConfig``.
      normalization: a choice of :data:`delg.normalization.NORMALIZATIONS`.
      normalize_pooled: L2-normalise the pooled vector before the whitening layer (SuperGlobal).
      local_head: a choice of :data:`delg.heads.local.LOCAL_HEADS`; None for a global descriptor only.
      classifier: a choice of :data:`delg.classifiers.table.CLASSIFIERS`, such as ``"cosface(margin=0.35)"``.
      sampled_classifier: a step trains a sample of the classes only, see :mod:`training.sampled`.
      dtype: a dtype policy of Keras that the model computes in, such as ``"mixed_bfloat16"``; ``keras.json``, Keras'
        global policy and its image format have no effect. Not a part of the configuration: saved models load in
        float32.

    Example:
      >>> model = Delg("resnet_small", embedding_dim=64, local_dim=32, num_classes=10)
      >>> model(keras.ops.zeros((1, 64, 64, 3)))["global_descriptor"].shape
      (1, 64)
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        pooling: str = "gem(p=3.0)",
        embedding_dim: int | None = 2048,
        local_dim: int | None = 128,
        attention_channels: int = 512,
        num_classes: int | None = None,
        arcface_margin: float = 0.1,
        arcface_scale: float = 45.25,
        block3_strides: bool = False,
        extraction: dict[str, Any] | None = None,
        normalization: str = "delg",
        normalize_pooled: bool = False,
        local_head: str | None = "delg",
        classifier: str = "arcface",
        sampled_classifier: bool = False,
        name: str = "delg",
        dtype: Any = "float32",
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.config: dict[str, Any] = {
            "backbone": backbone,
            "pooling": pooling,
            "embedding_dim": embedding_dim,
            "local_dim": local_dim,
            "attention_channels": attention_channels,
            "num_classes": num_classes,
            "arcface_margin": arcface_margin,
            "arcface_scale": arcface_scale,
            "block3_strides": block3_strides,
            "extraction": extraction,
            "normalization": normalization,
            "normalize_pooled": normalize_pooled,
            "local_head": local_head,
            "classifier": classifier,
            "sampled_classifier": sampled_classifier,
        }
        self._check()
        self.extraction = dict(extraction or {})
        self._normalization = factory_of(normalization, NORMALIZATIONS, "normalization")
        self.num_classes = num_classes
        with own_settings(self.dtype_policy):
            self._make_layers(backbone, pooling, block3_strides)
        self.built = True

    def _make_layers(self, backbone: str, pooling: str, block3_strides: bool) -> None:
        self.trunk: Backbone = build_backbone(backbone, block3_strides=block3_strides)
        self.backbone: keras.Model = self.trunk.model
        shapes = {key: tensor.shape for key, tensor in self.backbone.output.items()}
        self.map_filters, self.pooling = build_pooling(pooling)
        if isinstance(self.pooling, TokenPooling) and not self.trunk.tokens:
            raise InputError(f"The pooling {pooling!r} reads tokens, and the backbone {backbone!r} has none.")
        self.pooling.name = "pooling"
        self.pooling.build(shapes[self.trunk.global_level])
        pooled = self.pooling.compute_output_shape(shapes[self.trunk.global_level])
        self.embedding_dim: int = self.config["embedding_dim"] or pooled[-1]
        self.embedding_layer: Any = None
        if self.config["embedding_dim"]:
            self.embedding_layer = layers.Dense(self.embedding_dim, name="embedding_layer")
            self.embedding_layer.build(pooled)
        self.local_head: LocalHead | None = self._build_local_head(shapes[self.trunk.local_level])
        self.local_dim: int = self.local_head.descriptor_dim if self.local_head else 0
        self.classifier: CosineClassifier | None = None
        self.attention_classifier: keras.layers.Layer | None = None
        if self.num_classes:
            self._build_classifiers(self.num_classes)

    def _build_local_head(self, shape: tuple[int | None, ...]) -> LocalHead | None:
        if self.config["local_head"] is None:
            return None
        sizes = {key: self.config[key] for key in ("local_dim", "attention_channels")}
        head: LocalHead = build(
            self.config["local_head"], LOCAL_HEADS, "local_head", base=LocalHead, offers=sizes, channels=shape[-1]
        )
        own = {"tokens": self.trunk.tokens, "attention": self.trunk.attention}
        missing = [name for name in head.reads if not own[name]]
        if missing:
            raise InputError(
                f"The local head {self.config['local_head']!r} reads {' and '.join(missing)} of the backbone, and "
                f"{self.config['backbone']!r} has none."
            )
        self._local_inputs = [self.trunk.local_level, *(str(own[name]) for name in head.reads)]
        head.name = "local_head"
        head.build(shape)
        return head

    def _build_classifiers(self, num_classes: int) -> None:
        offers = {
            "default_margin": self.config["arcface_margin"],
            "default_scale": self.config["arcface_scale"],
            "rows": self.config["sampled_classifier"],
        }
        classifier: CosineClassifier = build(
            self.config["classifier"],
            CLASSIFIERS,
            "classifier",
            base=CosineClassifier,
            offers=offers,
            num_classes=num_classes,
        )
        classifier.name = "classifier"
        classifier.build((None, self.embedding_dim))
        self.classifier = classifier
        if self.local_head is not None:
            made = LinearClassifier if self.config["sampled_classifier"] else layers.Dense
            self.attention_classifier = made(num_classes, dtype=full_precision(), name="att_fc")
            self.attention_classifier.build((None, self.local_head.pooled_dim))

    def _check(self) -> None:
        for key in ("embedding_dim", "local_dim", "attention_channels", "num_classes"):
            value = self.config[key]
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"The model's {key} must be a positive whole number. Received: {value!r}")
        if type(self.config["normalize_pooled"]) is not bool:
            raise InputError(f"normalize_pooled expects True or False. Received: {self.config['normalize_pooled']!r}")

    def call(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Runs both heads.

        Args:
          images: ``(B, H, W, 3)`` float32, normalised by :meth:`normalize`.
          training: batch statistics in the normalisation layers.

        Returns:
          ``global_descriptor`` ``(B, D)``, not normalised, and the outputs of the local head (see
          :class:`delg.heads.local.LocalHead`) where the model has one.
        """
        return self.heads(self.backbone(images, training=training), training=training)

    def heads(self, maps: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Both heads on what the backbone puts out; returns what :meth:`call` returns."""
        outputs = {"global_descriptor": self.global_head(maps)}
        if self.local_head is not None:
            outputs |= self.local_head(*(maps[name] for name in self._local_inputs), training=training)
        return outputs

    def global_head(self, maps: dict[str, Tensor]) -> Tensor:
        """Pooling and whitening layer, if any, on what the backbone puts out, to ``(B, D)``."""
        vectors = self.pooled(maps)
        return vectors if self.embedding_layer is None else self.embedding_layer(vectors)

    def pooled(self, maps: dict[str, Tensor]) -> Tensor:
        """The input of the whitening layer, if any, ``(B, C)``, from what the backbone puts out."""
        x = maps[self.trunk.global_level]
        for map_filter in self.map_filters:
            x = map_filter(x)
        tokens = (maps[str(self.trunk.tokens)],) if isinstance(self.pooling, TokenPooling) else ()
        vectors = self.pooling(x, *tokens)
        return l2_normalize(vectors, epsilon=TORCH_EPSILON) if self.config["normalize_pooled"] else vectors

    def arcface_logits(self, global_descriptor: Tensor, labels: Tensor | None = None, *rows: Tensor) -> Tensor:
        """Scaled cosines ``(B, num_classes)``, penalised at ``labels`` when they are given; of a sample, its rows."""
        return self._required(self.classifier)(global_descriptor, labels, *rows)

    def attention_logits(self, attention_pooled: Tensor, *rows: Tensor) -> Tensor:
        """Class logits ``(B, num_classes)`` of the attention-pooled vector, a plain linear layer; likewise."""
        return self._required(self.attention_classifier)(attention_pooled, *rows)

    @staticmethod
    def _required(layer: Any) -> Any:
        if layer is None:
            raise ValueError("This model was built without num_classes or without a local head: no such classifier.")
        return layer

    def normalize(self, images: Tensor) -> Tensor:
        """RGB values ``(..., 3)`` in 0..255 to the network's input, float32; see :mod:`delg.normalization`."""
        wide = "float64" if self.variable_dtype == "float64" else "float32"
        return self._normalization(images, wide)

    @property
    def head_names(self) -> tuple[str, ...]:
        """``("global", "local")``, or ``("global",)`` for a model without a local head."""
        return HEADS if self.local_head is not None else HEADS[:1]

    def inference_model(self, heads: Sequence[str] | None = None) -> keras.Model:
        """A functional model that computes the given heads and no more.

        Args:
          heads: ``"global"``, ``"local"`` or both; None for all that the model has. Without the global head the last
            stage is not computed.

        Returns:
          A model from normalised images ``(B, H, W, 3)`` to a dict of ``global_descriptor`` ``(B, D)``, and
          ``local_descriptors`` ``(B, h, w, d)`` with ``attention`` ``(B, h, w)``; nothing is L2-normalised.
        """
        heads = self.head_names if heads is None else heads
        if not heads or set(heads) - set(self.head_names):
            raise ValueError(f"inference_model expects heads among {self.head_names}. Received: heads={heads}")
        images, maps = self.backbone.input, self.backbone.output
        outputs = {}
        with own_settings(self.dtype_policy):
            if "global" in heads:
                outputs["global_descriptor"] = self.global_head(maps)
            if "local" in heads:
                assert self.local_head is not None
                local = self.local_head(*(maps[name] for name in self._local_inputs), training=False)
                outputs |= {key: local[key] for key in ("local_descriptors", "attention")}
            return keras.Model(images, outputs, name="_".join(heads))

    def keypoint_grid(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres of the local map's cells in pixels of an input of the given size, ``(ys (h,), xs (w,))``.

        The top-left pixel's centre is 0; the padding of every layer is accounted for.
        """
        windows = self.trunk.levels[self.trunk.local_level]
        return cell_centres(windows, height), cell_centres(windows, width)

    @property
    def local_stride(self) -> int:
        """Input pixels between neighbouring cells of the local map."""
        return self.trunk.stride(self.trunk.local_level)

    @property
    def min_sides(self) -> dict[str, int]:
        """Smallest image side in pixels that each head accepts."""
        cells = max([1, *(map_filter.cells for map_filter in self.map_filters)])
        sides = {"global": self.trunk.min_side(cells), "local": self.trunk.min_side()}
        return {head: sides[head] for head in self.head_names}

    @property
    def min_side(self) -> int:
        """Smallest image side in pixels that all heads accept."""
        return max(self.min_sides.values())

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return dict(self.config)
