"""A tiny model, its exports, and what they should give."""

import keras
import numpy as np
import tensorflow as tf

import delg
from delg.exporting.files import export_model
from delg.exporting.options import ExportOptions
from delg.exporting.signatures import released_signature
from tests.tiny import BACKBONE

IMAGE = np.random.default_rng(3).integers(0, 256, (70, 93, 3), np.uint8)
SCALES = (1.5, 0.5, 1.0)


def tiny(**options):
    return delg.create("delg_small", backbone=BACKBONE, **options)


def model_with_both_heads():
    return tiny(embedding_dim=16, local_dim=8, attention_channels=8, num_classes=3, seed=4)


class Exporter:
    """``exporter(kind, **options)`` gives a folder, written once."""

    def __init__(self, model, place):
        self.model, self.place, self.folders = model, place, {}

    def __call__(self, kind, **options):
        key = (kind, *sorted(options.items()))
        if key not in self.folders:
            self.folders[key] = self.place / f"{kind}{len(self.folders)}"
            export_model(self.model, ExportOptions(kind=kind, **options), self.folders[key])
        return self.folders[key]


def signature(folder, name="serving_default"):
    loaded = tf.saved_model.load(str(folder))
    function = loaded.signatures[name]

    def call(**values):
        return {key: value.numpy() for key, value in function(**values).items()}

    call.loaded, call.function = loaded, function
    return call


def unwritten(model, **options):
    """The signature without a file between."""
    function = released_signature(model, ExportOptions(**options))
    return lambda **values: {key: value.numpy() for key, value in function(**values).items()}


def run(call, image=IMAGE, scales=SCALES, limit=10**6, threshold=0.0, chosen=(0, 2)):
    return call(
        input_image=tf.constant(image),
        input_scales=tf.constant(scales, tf.float32),
        input_max_feature_num=tf.constant(limit),
        input_abs_thres=tf.constant(threshold),
        input_global_scales_ind=tf.constant(chosen, tf.int32),
    )


def plain(model, scale, image=IMAGE):
    """Both heads at one scale, computed plainly."""
    size = [round(side * scale) for side in image.shape[:2]]
    pixels = keras.ops.image.resize(model.normalize(image[None]), size, interpolation="bilinear", antialias=False)
    outputs = model(pixels, training=False)
    wanted = {"global_descriptor", "local_descriptors", "attention"} & set(outputs)
    return {key: np.asarray(outputs[key])[0] for key in wanted}


def globally(call):
    """Only the inputs of a global model."""
    names = ("input_image", "input_scales", "input_global_scales_ind")
    return lambda **values: call(**{name: values[name] for name in names})
