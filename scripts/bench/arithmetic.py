"""The arithmetic of a training step: what any implementation of it has to compute at least."""

from typing import Any

import keras
import numpy as np


def step_operations(model: Any, image_size: int, batch_size: int) -> float:
    """Floating-point operations of the convolutions and dense layers of a step: forward, and twice that backward.

    Args:
      model: a :class:`delg.model.Delg` with both heads and classifiers.
      image_size: side ``S`` of the images in pixels.
      batch_size: images.
    """
    total, images = 0.0, keras.KerasTensor((1, image_size, image_size, 3))
    probe = keras.Model(model.backbone.input, [layer.output for layer in model.backbone.layers])
    for layer, out in zip(model.backbone.layers, probe.compute_output_spec(images)):
        if isinstance(layer, keras.layers.Conv2D):
            total += 2.0 * np.prod(layer.kernel.shape) * np.prod(out.shape[1:3])
    cells = np.prod(model.backbone.compute_output_spec(images)["block3"].shape[1:3])
    for variable in (*model.local_head.trainable_variables, model.embedding_layer.kernel,
                     model.classifier.cosine_weights, model.attention_classifier.kernel):  # fmt: skip
        if len(variable.shape) > 1:
            total += 2.0 * np.prod(variable.shape) * (cells if len(variable.shape) == 4 else 1)
    return 3.0 * batch_size * float(total)
