"""The released inference over the scales of one image, as operations of a TensorFlow graph.

Source: the released `export_local_model.py`, `export_local_and_global_model.py` and `export_global_model.py`, and the
functions of `delf_model.py` and `feature_extractor.py` that they call.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from delg.model import Delg

Tensor = Any
Rows = dict[str, Tensor]


class Pyramid:
    """The networks of a model and what they give at the scales of an image.

    A head leaves a scale out whose shorter side would fall below what it accepts; the released graph fails there.

    Attributes:
      widths: number of columns of each output: None for a vector, else of the matrix.
    """

    def __init__(self, model: "Delg", heads: tuple[str, ...], rule: str = "delg") -> None:
        """Builds the networks.

        Args:
          model: see :class:`delg.model.Delg`.
          heads: ``"global"``, ``"local"`` or both.
          rule: a choice of :data:`delg.exporting.options.SCALE_RULES`.
        """
        self.normalize, self.min_sides = model.normalize, model.min_sides
        self.rule, self.antialias = rule, bool(model.extraction.get("antialias", False))
        self.stride, self.padding = float(model.local_stride), model.trunk.padding
        self.widths: dict[str, int | None] = {}
        self.networks = []
        if "local" in heads:
            self.widths |= {"boxes": 4, "features": model.local_dim, "scales": None, "scores": None}
            self.networks.append(model.inference_model(("local",)))
        if "global" in heads:
            self.widths |= {"global_descriptors": model.embedding_dim}
            self.networks.append(model.inference_model(heads))
        self.heads = heads

    def __call__(self, image: Tensor, scales: Tensor, threshold: Tensor | None, scale_indices: Tensor | None) -> Rows:
        """Runs the networks, each scale once.

        Args:
          image: ``(H, W, 3)`` uint8 RGB.
          scales: ``(S,)`` float32 factors on its sides.
          threshold: ``()`` float32, least attention of a local feature; None without the local head.
          scale_indices: ``(G,)`` int32, indices of the scales of the global descriptors, in any order; None without the
            global head.

        Returns:
          ``boxes`` ``(N, 4)``, ``features`` ``(N, d)``, ``scales`` ``(N,)``, ``scores`` ``(N,)`` of the local
          features, scales in their order, cells row by row; ``global_descriptors`` ``(G', D)`` by increasing index
          of the scale, one for each that is chosen and not left out. All float32, nothing is L2-normalised.
        """
        import tensorflow as tf

        pixels = self.normalize(image[tf.newaxis])
        count = tf.size(scales)
        wanted = tf.zeros([count], tf.bool) if scale_indices is None else _members(tf.range(count), scale_indices)

        def at(i: Tensor) -> Rows:
            size = scaled_size(tf.shape(image)[:2], scales[i], self.rule)
            branches: list[Callable[[], Rows]] = [self._nothing]
            branches += [partial(self._rows, network, pixels, size, scales[i], threshold) for network in self.networks]
            return tf.switch_case(self._branch(tf.reduce_min(size), wanted[i]), branches)

        return self._joined(at, count)

    def _branch(self, side: Tensor, wanted: Tensor) -> Tensor:
        """What is run at a scale: 0 nothing, else the number of the network; the last has the global head."""
        import tensorflow as tf

        branch = tf.constant(0)
        if "local" in self.heads:
            branch = tf.where(side >= self.min_sides["local"], 1, branch)
        if "global" in self.heads:
            branch = tf.where(wanted & (side >= self.min_sides["global"]), len(self.networks), branch)
        return branch

    def _joined(self, at: Callable[[Tensor], Rows], count: Tensor) -> Rows:
        """The rows of all scales, one scale after the other, so that memory is that of the largest."""
        import tensorflow as tf

        arrays = {
            key: tf.TensorArray(tf.float32, count, element_shape=self._shape(key), infer_shape=False)
            for key in self.widths
        }

        def step(i: Tensor, arrays: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            rows = at(i)
            return i + 1, {key: array.write(i, rows[key]) for key, array in arrays.items()}

        _, arrays = tf.while_loop(lambda i, _: i < count, step, (tf.constant(0), arrays), parallel_iterations=1)
        return {key: tf.ensure_shape(array.concat(), self._shape(key)) for key, array in arrays.items()}

    def _shape(self, key: str) -> list[int | None]:
        width = self.widths[key]
        return [None] if width is None else [None, width]

    def _nothing(self) -> Rows:
        import tensorflow as tf

        return {key: tf.zeros([0] if width is None else [0, width]) for key, width in self.widths.items()}

    def _rows(self, network: Any, pixels: Tensor, size: Tensor, scale: Tensor, threshold: Tensor | None) -> Rows:
        """One scale of one network; what it does not compute has no rows."""
        import tensorflow as tf

        outputs = network(tf.image.resize(pixels, size, "bilinear", antialias=self.antialias), training=False)
        rows = self._nothing()
        if "global_descriptor" in outputs:
            rows["global_descriptors"] = outputs["global_descriptor"]
        if threshold is not None:
            local = outputs["attention"], outputs["local_descriptors"]
            rows |= local_rows(*local, scale, threshold, stride=self.stride, padding=self.padding)
        return rows


def local_rows(
    attention: Tensor, descriptors: Tensor, scale: Tensor, threshold: Tensor, *, stride: float, padding: float
) -> Rows:
    """The cells of one scale whose attention reaches the threshold.

    Args:
      attention: ``(1, h, w)`` float32.
      descriptors: ``(1, h, w, d)`` float32.
      scale: ``()`` float32 factor of this scale.
      threshold: ``()`` float32.
      stride: input pixels between neighbouring cells.
      padding: pixels between the point of a cell and the sides of its box.

    Returns:
      ``boxes`` ``(n, 4)`` ``(ymin, xmin, ymax, xmax)`` in pixels of the image at scale 1: receptive fields as released,
      ``(stride * index -/+ padding) / scale``; ``features`` ``(n, d)``; ``scales`` ``(n,)`` = ``1 / scale``; ``scores``
      ``(n,)``.
    """
    import tensorflow as tf

    cells = tf.where(attention[0] >= threshold)
    corner = stride * tf.cast(cells, tf.float32)
    return {
        "boxes": tf.concat([corner - padding, corner + padding], 1) / scale,
        "features": tf.gather_nd(descriptors[0], cells),
        "scales": tf.fill(tf.shape(cells)[:1], 1.0 / scale),
        "scores": tf.gather_nd(attention[0], cells),
    }


def select(rows: Rows, max_feature_num: Tensor, iou: float) -> Rows:
    """The local features of highest score, by decreasing score; of equal scores the lower row comes first.

    Args:
      rows: ``boxes`` ``(N, 4)`` and ``scores`` ``(N,)`` among others of ``N`` rows.
      max_feature_num: ``()`` int32, at most so many.
      iou: drop a box that overlaps a better one by more; 1 keeps all.

    Returns:
      The same outputs with fewer rows.
    """
    import tensorflow as tf

    scores, limit = rows["scores"], tf.maximum(max_feature_num, 0)
    if iou < 1:
        rows_kept = tf.image.non_max_suppression(rows["boxes"], scores, limit, iou)
    else:
        rows_kept = tf.math.top_k(scores, tf.minimum(limit, tf.size(scores))).indices
    return {key: tf.gather(value, rows_kept) for key, value in rows.items()}


def scaled_size(shape: Tensor, scale: Tensor, rule: str = "delg") -> Tensor:
    """``(h, w)`` int32 of one scale: sides times the factor, halves rounded to even, or cut down (``superglobal``)."""
    import tensorflow as tf

    sides = tf.cast(shape, tf.float32) * scale
    return tf.cast(tf.floor(sides) if rule == "superglobal" else tf.round(sides), tf.int32)


def _members(values: Tensor, scale_indices: Tensor) -> Tensor:
    """``(S,)`` bool: which of ``values`` ``(S,)`` occur in ``scale_indices`` ``(G,)``."""
    import tensorflow as tf

    return tf.reduce_any(values[:, tf.newaxis] == scale_indices[tf.newaxis], axis=1)
