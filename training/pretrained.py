"""ImageNet weights of ``keras.applications`` for a ResNet backbone, as the first values of training."""

import os
from pathlib import Path
from typing import Any

from delg.importers.keras_h5 import keras_applications
from delg.importers.strict import assign
from protos.errors import InputError


def load_imagenet(model: Any, path: str | os.PathLike[str]) -> None:
    """Assigns the weights of every backbone layer by name; the heads keep their values.

    ``conv1_conv`` and the older ``conv1`` spellings are read. The first convolution is rewritten from BGR less its mean
    to ``(RGB - 128) / 128``. (The released code leaves out ``conv1`` and ``bn_conv1`` and rewrites nothing.)

    Args:
      model: a :class:`delg.model.Delg`.
      path: an HDF5 file.

    Raises:
      InputError: the file cannot be read, or lacks or misfits weights of the backbone, all of which are listed.
    """
    if not Path(path).is_file():
        raise InputError(f"The ImageNet weights {path} do not exist.")
    assign(keras_applications(Path(path)), model)
