"""First values of training: ImageNet weights of ``keras.applications`` for the backbone, or those of another model."""

import os
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.importers.keras_h5 import keras_applications
from delg.importers.strict import assign
from delg.saving import load

CLASSIFIERS = ("classifier/", "att_fc/")
HEADS = ("embedding_layer/", "local_head/")


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


def load_model(model: Any, folder: str | os.PathLike[str]) -> None:
    """Assigns all weights of a saved model but those of its classifiers.

    A whitening layer or a local head that the saved model does not have keeps its first values.

    Args:
      model: a :class:`delg.model.Delg` to be trained.
      folder: a model folder, or another model that :func:`delg.load` reads.

    Raises:
      InputError: not a model folder, or weights of one model are not in the other, which are named.
    """
    theirs = {v.path: v for v in load(folder).weights if not v.path.startswith(CLASSIFIERS)}
    added = tuple(head for head in HEADS if not any(path.startswith(head) for path in theirs))
    ours = {v.path: v for v in model.weights if not v.path.startswith((*CLASSIFIERS, *added))}
    shapes = [{path: tuple(v.shape) for path, v in side.items()} for side in (theirs, ours)]
    if shapes[0] != shapes[1]:
        apart = sorted({path for path, _ in shapes[0].items() ^ shapes[1].items()})
        raise InputError(
            f"The weights of {folder} do not fit this model: {len(apart)} are missing or of another shape, such as "
            f"{', '.join(apart[:3])}."
        )
    for path, variable in ours.items():
        variable.assign(theirs[path].value)
