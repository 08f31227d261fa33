"""delg-export: writes a trained model as files for programs without this package.

The kinds local, global and local_and_global are SavedModels with the released signatures (one uint8 image and its
scales), which a program written for the released models loads unchanged. The kind batch is a SavedModel for a model
server (images of one size in a batch), the kind onnx the same for ONNX runtimes.

Example:
  delg-export --model=my_model --output_dir=exported --kind=local_and_global
"""

import os

from delg.common.options import define_flags, from_flags
from delg.exporting.options import ExportOptions

define_flags(ExportOptions)


def main() -> None:
    """Checks the flags, loads the model, writes the export.

    Raises:
      InputError: a flag is missing or does not fit, or the model cannot be loaded or lacks a head.
    """
    from pathlib import Path

    from delg.common.errors import InputError

    options = from_flags(ExportOptions)
    if not options.model or not options.output_dir:
        raise InputError(f"--{'output_dir' if options.model else 'model'} is required.")
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise InputError(
            f"The export needs the TensorFlow backend of Keras, not {backend!r}; set KERAS_BACKEND=tensorflow."
        )
    from delg.exporting.files import check_place, export_model
    from delg.saving import ADAPTATION, LOCAL_WHITENING, load

    check_place(options.output_dir, options)
    for line in export_model(load(options.model), options, options.output_dir):
        print(line)
    if (Path(options.model) / LOCAL_WHITENING).is_file():
        print(
            f"{LOCAL_WHITENING} of {options.model} is not part of the export: the exported local descriptors are not "
            "whitened."
        )
    if (Path(options.model) / ADAPTATION).is_file():
        print(
            f"{ADAPTATION} of {options.model} is not part of the export: the exported global descriptors are not "
            "adapted."
        )
