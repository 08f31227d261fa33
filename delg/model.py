"""The unified model: one backbone, a global head and a local head (DELG, arXiv 2001.05027)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from delg.arcface import ArcFace
from delg.backbones import BACKBONES
from delg.geometry import cell_centres
from delg.local_head import LocalHead
from delg.pooling import POOLINGS
from protos.errors import InputError
from protos.spec import build

Tensor = Any
HEADS = ("global", "local")


class Delg(keras.Model):
    """Global and local features from one pass.

    ``block4 -> pooling -> embedding_layer`` is the global head; ``block3 -> stop gradient -> LocalHead`` the local one.
    The classifiers exist when ``num_classes`` is given and take part in training only.

    Args:
      backbone: a choice of :data:`delg.backbones.BACKBONES`, such as ``"resnet50"``.
      pooling: a choice of :data:`delg.pooling.POOLINGS`, such as ``"gem(p=3.0)"``.
      embedding_dim: length ``D`` of the global descriptor, the output of the whitening layer.
      local_dim: length of the local descriptor; None for no autoencoder.
      attention_channels: hidden width of the attention.
      num_classes: classes of the training set, or None.
      arcface_margin: angular margin in radians.
      arcface_scale: factor of the cosines.
      block3_strides: thin the local map by 2, as in the released training.
      extraction: how features are extracted unless the user says otherwise: ``image_scales``, ``global_scales_ind``
        (indices into them), ``max_image_size``, ``max_feature_num``.

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
        embedding_dim: int = 2048,
        local_dim: int | None = 128,
        attention_channels: int = 512,
        num_classes: int | None = None,
        arcface_margin: float = 0.1,
        arcface_scale: float = 45.25,
        block3_strides: bool = False,
        extraction: dict[str, Any] | None = None,
        name: str = "delg",
    ) -> None:
        super().__init__(name=name)
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
        }
        self._check_sizes()
        self.extraction = dict(extraction or {})
        trunk = build(backbone, BACKBONES, "backbone", block3_strides=block3_strides)
        self._trunk = trunk
        self.backbone: keras.Model = trunk.model
        shapes = {key: tensor.shape for key, tensor in trunk.model.output.items()}
        channels = shapes["block3"][-1]
        self.pooling = build(pooling, POOLINGS, "pooling")
        self.embedding_layer = layers.Dense(embedding_dim, name="embedding_layer")
        self.local_head = LocalHead(channels, local_dim, attention_channels, name="local_head")
        self.classifier: ArcFace | None = None
        self.attention_classifier: keras.layers.Layer | None = None
        if num_classes:
            self._build_classifiers(num_classes, channels)
        self.embedding_layer.build((None, shapes["block4"][-1]))
        self.local_head.build(shapes["block3"])
        self.local_dim: int = local_dim or channels
        self.embedding_dim, self.num_classes = embedding_dim, num_classes
        self.built = True

    def _build_classifiers(self, num_classes: int, channels: int) -> None:
        margin, scale = self.config["arcface_margin"], self.config["arcface_scale"]
        self.classifier = ArcFace(num_classes, margin, scale, name="classifier")
        self.classifier.build((None, self.config["embedding_dim"]))
        self.attention_classifier = layers.Dense(num_classes, dtype="float32", name="att_fc")
        self.attention_classifier.build((None, channels))

    def _check_sizes(self) -> None:
        for key in ("embedding_dim", "local_dim", "attention_channels", "num_classes"):
            value = self.config[key]
            if value is not None and (not isinstance(value, int) or value < 1):
                raise InputError(f"The model's {key} must be a positive whole number. Received: {value!r}")

    def call(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Runs both heads.

        Args:
          images: ``(B, H, W, 3)`` float32, normalised by :meth:`normalize`.
          training: batch statistics in the normalisation layers.

        Returns:
          ``global_descriptor`` ``(B, D)``, not normalised, and the outputs of :class:`delg.local_head.LocalHead`.
        """
        return self.heads(self.backbone(images, training=training), training=training)

    def heads(self, maps: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Both heads on the backbone's feature maps ``block3`` and ``block4``; returns what :meth:`call` returns."""
        return {
            "global_descriptor": self.global_head(maps["block4"]),
            **self.local_head(maps["block3"], training=training),
        }

    def global_head(self, block4: Tensor) -> Tensor:
        """Pooling and whitening layer: ``(B, h, w, C)`` to ``(B, D)``."""
        return self.embedding_layer(self.pooling(block4))

    def arcface_logits(self, global_descriptor: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scaled cosines ``(B, num_classes)``, with the margin at ``labels`` when they are given."""
        return self._required(self.classifier)(global_descriptor, labels)

    def attention_logits(self, attention_pooled: Tensor) -> Tensor:
        """Class logits ``(B, num_classes)`` of the attention-pooled vector, a plain linear layer."""
        return self._required(self.attention_classifier)(attention_pooled)

    @staticmethod
    def _required(layer: Any) -> Any:
        if layer is None:
            raise ValueError("This model was built without num_classes and has no classifier.")
        return layer

    def normalize(self, images: Tensor) -> Tensor:
        """RGB values in 0..255 to the network's input, ``(x - 128) / 128``, float32 (released code)."""
        return (ops.cast(images, "float32") - 128.0) / 128.0

    def inference_model(self, heads: Sequence[str] = HEADS) -> keras.Model:
        """A functional model that computes the given heads and no more.

        Args:
          heads: ``"global"``, ``"local"`` or both. Without the global head the last stage is not computed.

        Returns:
          A model from normalised images ``(B, H, W, 3)`` to a dict of ``global_descriptor`` ``(B, D)``, and
          ``local_descriptors`` ``(B, h, w, d)`` with ``attention`` ``(B, h, w)``; nothing is L2-normalised.
        """
        if not heads or set(heads) - set(HEADS):
            raise ValueError(f"inference_model expects heads among {HEADS}. Received: heads={heads}")
        images, maps = self.backbone.input, self.backbone.output
        outputs = {}
        if "global" in heads:
            outputs["global_descriptor"] = self.global_head(maps["block4"])
        if "local" in heads:
            local = self.local_head(maps["block3"], training=False)
            outputs |= {key: local[key] for key in ("local_descriptors", "attention")}
        return keras.Model(images, outputs, name="_".join(heads))

    def keypoint_grid(self, height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres of the local map's cells in pixels of an input of the given size, ``(ys (h,), xs (w,))``.

        The top-left pixel's centre is 0; the padding of every layer is accounted for.
        """
        windows = self._trunk.local_windows
        return cell_centres(windows, height), cell_centres(windows, width)

    @property
    def local_stride(self) -> int:
        """Input pixels between neighbouring cells of the local map."""
        return int(np.prod([window.stride for window in self._trunk.local_windows]))

    @property
    def min_side(self) -> int:
        """Smallest accepted image side in pixels."""
        return self._trunk.min_side

    def get_config(self) -> dict[str, Any]:
        """Every argument of the constructor."""
        return dict(self.config)
