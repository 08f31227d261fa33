"""The released extraction of one image, written from its description: what the rows of extraction are measured against.

All scales go through the whole network, one at a time, in float32 on TensorFlow with its default threads: the image is
normalised and resized (bilinear, without antialias) in the graph, local features of all scales pass a non-maximum
suppression at IoU 1 that keeps the 1000 best, and global descriptors of scales that are not wanted are thrown away.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from delg.model import Delg
from extraction.images import ImageRef, Reading, load_image

SCALES = (0.25, 0.35355338, 0.5, 0.70710677, 1.0, 1.4142135, 2.0)
CHOSEN = (3, 4, 5)
FEATURES = 1000
PADDING, STRIDE = 145.0, 16.0
RELEASED = Reading("ignore", "describe", "round", "pad")

Array = NDArray[np.float32]


class Described(NamedTuple):
    """Global ``(D,)``, keypoints ``(N, 2)`` ``(x, y)``, descriptors ``(N, d)``, scores and scales ``(N,)``."""

    vector: Array
    keypoints: Array
    descriptors: Array
    scores: Array
    scales: Array


class Reference:
    """The released extractor on a model's weights."""

    def __init__(self, model: Delg):
        """Traces the graph of one scale, for all sizes."""
        import tensorflow as tf

        network = model.inference_model(("global", "local"))

        @tf.function(
            input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.float32)], autograph=False
        )
        def at(image: Any, scale: Any) -> Any:
            pixels = (tf.cast(image, tf.float32) - 128.0) / 128.0
            sides = tf.cast(tf.round(tf.cast(tf.shape(image)[:2], tf.float32) * scale), tf.int32)
            outputs = network(tf.image.resize(pixels[None], sides), training=False)
            cells = tf.where(outputs["attention"][0] >= 0.0)
            centres = STRIDE * tf.cast(cells, tf.float32)
            boxes = tf.concat([centres - PADDING, centres + PADDING], 1) / scale
            return (
                outputs["global_descriptor"][0],
                boxes,
                tf.gather_nd(outputs["local_descriptors"][0], cells),
                tf.gather_nd(outputs["attention"][0], cells),
                tf.fill(tf.shape(cells)[:1], 1.0 / scale),
            )

        self._at, self._tf = at, tf

    def __call__(self, ref: ImageRef) -> Described:
        """Decodes and describes an image that needs no resizing."""
        tf = self._tf
        image, *_ = load_image(ref, RELEASED)
        found = [self._at(image, np.float32(scale)) for scale in SCALES]
        boxes, descriptors, scores, scales = (tf.concat([one[i] for one in found], 0) for i in range(1, 5))
        kept = tf.image.non_max_suppression(boxes, scores, FEATURES, iou_threshold=1.0)
        boxes, descriptors, scores, scales = (tf.gather(rows, kept) for rows in (boxes, descriptors, scores, scales))
        vectors = tf.nn.l2_normalize(tf.stack([found[i][0] for i in CHOSEN]), axis=1)
        vector = tf.nn.l2_normalize(tf.reduce_sum(vectors, 0), axis=0).numpy()
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).numpy()[:, ::-1]
        return Described(
            vector, centres, tf.nn.l2_normalize(descriptors, axis=1).numpy(), scores.numpy(), scales.numpy()
        )
