"""Hashes of outputs of models, extraction and training steps.

``python -m tests.delg.keras_outputs FOLDER COMMAND --flag=value`` prints the hashes and runs the command.
"""

import hashlib
import json
import runpy
import sys
from typing import Any

import numpy as np

from delg.quiet import skip_optional_imports

skip_optional_imports()

import keras  # noqa: E402

from tests.tiny import BACKBONE  # noqa: E402

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
SMALL = "resnet_small(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))"
MODELS: dict[str, dict[str, Any]] = {
    "delg_small": {"backbone": BACKBONE, "pooling": "average"},
    "superglobal_r50": {"backbone": SMALL, "local_head": "delg_pytorch", "pooling": "regional_gem, gem(learned=True)"},
}


def digest(*values: Any) -> str:
    arrays = [np.ascontiguousarray(keras.ops.convert_to_numpy(value)) for value in values]
    return hashlib.sha256(b"".join(str(a.dtype).encode() + a.tobytes() for a in arrays)).hexdigest()


def of_models(folder: Any) -> dict[str, Any]:
    import delg
    from extraction.extractors.delg import DelgExtractor

    found: dict[str, Any] = {}
    for name, settings in MODELS.items():
        model = delg.create(name, embedding_dim=16, attention_channels=8, **settings)
        outputs = model(model.normalize(IMAGE[None]))
        found |= {f"{name} {key}": digest(value) for key, value in outputs.items()}
        delg.save(model, f"{folder}/{name}")
        scales = {"image_scales": [0.7, 1.0], "global_scales_ind": [0, 1]}
        extractor = DelgExtractor.from_folder(f"{folder}/{name}", **scales)
        features = extractor(IMAGE, "a")
        found[f"{name} global"] = digest(features.global_descriptor)
        found[f"{name} local"] = digest(features.keypoints, features.descriptors, features.scores)
        found[f"{name} precision"] = extractor.settings["precision"]
    return found


def of_training() -> dict[str, Any]:
    """Without a trace, which takes most of the time of two steps; the extractors are traced."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        return _steps()
    finally:
        tf.config.run_functions_eagerly(False)


def _steps() -> dict[str, Any]:
    from tests.training.tiny import SIZE, step_config, tiny_model
    from training.averaging import AverageConfig, MovingAverage
    from training.backends.tensorflow_step import TrainStep
    from training.losses.global_descriptor import build_global_loss
    from training.optimizers import build_optimizer

    random, found = np.random.default_rng(1), {}
    images, labels = random.integers(0, 255, (8, SIZE, SIZE, 3)).astype(np.float32), random.integers(0, 8, 8)
    for classifier, optimizer, loss in (("curricularface", "adamw", "arcface"), ("arcface", "sgd", "triplet_semihard")):
        model, made = tiny_model(classifier=classifier), build_optimizer(optimizer)
        made.build(model.trainable_variables)
        average = MovingAverage(model.trainable_variables, AverageConfig(0.5))
        step = TrainStep(model, made, step_config(8, global_loss=build_global_loss(loss)), average)
        results = [step(images, labels, 0.0003, summarize=True) for _ in range(2)]
        reported = [value for one in results for value in (one.metrics, one.attention, one.sparsity)]
        found[f"{classifier} {optimizer} {loss}"] = digest(*reported, *model.weights, *average.averages)
    return found


def everything(folder: Any) -> dict[str, Any]:
    """Hashes by what was computed; the settings of Keras afterwards are those before."""
    config = keras.config
    before = config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name
    result = of_models(folder) | of_training()
    assert before == (config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name)
    return result


if __name__ == "__main__":
    print(json.dumps(everything(sys.argv.pop(1))))
    runpy.run_module("delg", run_name="__main__", alter_sys=True)
