"""The released signatures of SavedModels: one uint8 image of any size and its scales.

============================  ================================================  =====================================
kind                          inputs                                            outputs
============================  ================================================  =====================================
local                         input_image, input_scales,                        boxes, features, scales, scores
                              input_max_feature_num, input_abs_thres
local_and_global              the same and input_global_scales_ind              the same and global_descriptors
global                        input_image, input_scales,                        global_descriptors, or, pooled over
                              input_global_scales_ind                           the scales, global_descriptor
global, input_scales_list     input_image                                       the same
============================  ================================================  =====================================

Source: the released `export_local_model.py`, `export_local_and_global_model.py` and `export_global_model.py`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from delg.exporting.options import ExportOptions
from delg.exporting.pyramid import Pyramid, select

if TYPE_CHECKING:
    from delg.model import Delg

Tensor = Any


def released_signature(model: "Delg", options: ExportOptions) -> Callable[..., dict[str, Tensor]]:
    """The function that is exported as ``serving_default``.

    Args:
      model: see :class:`delg.model.Delg`.
      options: of kind ``local``, ``global`` or ``local_and_global``.

    Returns:
      A ``tf.function`` with an input signature, traced once for all sizes. Inputs: ``input_image`` ``(H, W, 3)``
      uint8, ``input_scales`` ``(S,)`` float32, ``input_max_feature_num`` ``()`` int32, ``input_abs_thres`` ``()``
      float32, ``input_global_scales_ind`` ``(G,)`` int32. Outputs, float32: ``boxes`` ``(N, 4)``
      ``[ymin, xmin, ymax, xmax]``, ``features`` ``(N, d)``, ``scales`` ``(N,)``, ``scores`` ``(N, 1)``,
      ``global_descriptors`` ``(G, D)`` or ``global_descriptor`` ``(D,)``.

    Raises:
      InputError: the model lacks a head, or its way to resize cannot be exported.
    """
    pyramid = Pyramid(model, options.heads(model), options.rule(model))
    if options.kind == "local":
        return _local(pyramid, options.iou)
    if options.kind == "local_and_global":
        return _local_and_global(pyramid, options.iou)
    return _global(pyramid, options)


def _inputs(*names: str) -> list[Any]:
    import tensorflow as tf

    every = {
        "input_image": ([None, None, 3], tf.uint8),
        "input_scales": ([None], tf.float32),
        "input_max_feature_num": ([], tf.int32),
        "input_abs_thres": ([], tf.float32),
        "input_global_scales_ind": ([None], tf.int32),
    }
    return [tf.TensorSpec(*every[name], name=name) for name in names]


LOCAL_INPUTS = ("input_image", "input_scales", "input_max_feature_num", "input_abs_thres")


def _local(pyramid: Pyramid, iou: float) -> Callable[..., dict[str, Tensor]]:
    import tensorflow as tf

    @tf.function(input_signature=_inputs(*LOCAL_INPUTS), autograph=False)
    def extract(
        input_image: Tensor, input_scales: Tensor, input_max_feature_num: Tensor, input_abs_thres: Tensor
    ) -> dict[str, Tensor]:
        rows = pyramid(input_image, input_scales, input_abs_thres, None)
        return _column(select(rows, input_max_feature_num, iou))

    return extract


def _local_and_global(pyramid: Pyramid, iou: float) -> Callable[..., dict[str, Tensor]]:
    import tensorflow as tf

    @tf.function(input_signature=_inputs(*LOCAL_INPUTS, "input_global_scales_ind"), autograph=False)
    def extract(
        input_image: Tensor,
        input_scales: Tensor,
        input_max_feature_num: Tensor,
        input_abs_thres: Tensor,
        input_global_scales_ind: Tensor,
    ) -> dict[str, Tensor]:
        rows = pyramid(input_image, input_scales, input_abs_thres, input_global_scales_ind)
        descriptors = rows.pop("global_descriptors")
        return {**_column(select(rows, input_max_feature_num, iou)), "global_descriptors": descriptors}

    return extract


def _global(pyramid: Pyramid, options: ExportOptions) -> Callable[..., dict[str, Tensor]]:
    import tensorflow as tf

    if options.input_scales_list is None:

        @tf.function(input_signature=_inputs("input_image", "input_scales", "input_global_scales_ind"), autograph=False)
        def extract(input_image: Tensor, input_scales: Tensor, input_global_scales_ind: Tensor) -> dict[str, Tensor]:
            rows = pyramid(input_image, input_scales, None, input_global_scales_ind)
            return _pooled(rows["global_descriptors"], options)

        return extract
    fixed = options.input_scales_list

    @tf.function(input_signature=_inputs("input_image"), autograph=False)
    def extract_fixed(input_image: Tensor) -> dict[str, Tensor]:
        rows = pyramid(input_image, tf.constant(fixed, tf.float32), None, tf.range(len(fixed)))
        return _pooled(rows["global_descriptors"], options)

    return extract_fixed


def _column(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """The scores as a column ``(N, 1)``, as released."""
    return {**rows, "scores": rows["scores"][:, None]}


def _pooled(descriptors: Tensor, options: ExportOptions) -> dict[str, Tensor]:
    """Global descriptors ``(G, D)`` by the options: rows, their mean or their sum; rows are not normalised first."""
    import tensorflow as tf

    name = "global_descriptors"
    if options.multi_scale_pool_type != "None":
        pool = tf.reduce_mean if options.multi_scale_pool_type == "average" else tf.reduce_sum
        name, descriptors = "global_descriptor", pool(descriptors, axis=0)
    if options.normalize_global_descriptor:
        descriptors = tf.math.l2_normalize(descriptors, axis=-1, epsilon=1e-12)
    return {name: descriptors}
