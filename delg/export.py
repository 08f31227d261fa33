"""delg-export: writes a trained model as files for programs that do not have this package.

The kinds local, global and local_and_global are SavedModels with the released signatures (one uint8 image and its
scales), which a program written for the released models loads unchanged. The kind batch is a SavedModel for a model
server (images of one size in a batch), the kind onnx the same for ONNX runtimes.

Example:
  delg-export --model=my_model --output_dir=exported --kind=local_and_global
"""

import os

from absl import flags

from delg.exporting.options import KINDS, POOLS, SCALE_RULES

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "The model folder.")
flags.DEFINE_string("output_dir", None, "Folder of the export; absent or empty.")
flags.DEFINE_enum(
    "kind",
    "local_and_global",
    KINDS,
    "The signature: released ones, batch (uint8 or float images) or onnx (model.onnx, float images).",
)
flags.DEFINE_enum(
    "multi_scale_pool_type",
    "None",
    POOLS,
    "How the global descriptors of the scales become one; None gives one a scale. Kind global only.",
)
flags.DEFINE_list(
    "input_scales_list", None, "Scales that are fixed; the image is the only input then. Kind global only."
)
flags.DEFINE_bool("normalize_global_descriptor", False, "L2-normalise the global descriptor. Not with local kinds.")
flags.DEFINE_float(
    "iou",
    1.0,
    "Drop local features whose box overlaps that of a better one by more; 1 keeps all.",
    lower_bound=0.0,
    upper_bound=1.0,
)
flags.DEFINE_enum(
    "scale_rule",
    None,
    SCALE_RULES,
    "How scaled sides become whole pixels: rounded (released), or cut down. Default: the model's. Released kinds only.",
)


def main() -> None:
    """Checks the flags, loads the model, writes the export.

    Raises:
      InputError: a flag is missing or does not fit, or the model cannot be loaded or lacks a head.
    """
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.exporting.options import ExportOptions

    for name in ("model", "output_dir"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is required: {FLAGS[name].help}")
    try:
        scales = None if FLAGS.input_scales_list is None else tuple(float(text) for text in FLAGS.input_scales_list)
    except ValueError as error:
        raise InputError(
            f"--input_scales_list expects numbers separated by commas. Received: {FLAGS.input_scales_list}"
        ) from error
    options = ExportOptions(
        kind=FLAGS.kind,
        multi_scale_pool_type=FLAGS.multi_scale_pool_type,
        input_scales_list=scales,
        normalize_global_descriptor=FLAGS.normalize_global_descriptor,
        iou=FLAGS.iou,
        scale_rule=FLAGS.scale_rule,
    )
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise InputError(
            f"The export needs the TensorFlow backend of Keras, not {backend!r}; set KERAS_BACKEND=tensorflow."
        )
    from delg.exporting.files import check_place, export_model
    from delg.saving import LOCAL_WHITENING, load

    check_place(FLAGS.output_dir, options)
    for line in export_model(load(FLAGS.model), options, FLAGS.output_dir):
        print(line)
    if (Path(FLAGS.model) / LOCAL_WHITENING).is_file():
        print(f"{LOCAL_WHITENING} of {FLAGS.model} is not part of the export: its local descriptors are not whitened.")
