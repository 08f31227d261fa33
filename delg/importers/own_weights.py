"""Our own weights: a ``.weights.h5`` without the model folder around it, and safetensors of a model to be shared."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError
from delg.common.files import read_json
from delg.common.safetensors_file import read_safetensors, write_safetensors
from delg.importers.keras_h5 import open_h5
from delg.importers.source import WeightSource
from delg.importers.strict import assign, complain

if TYPE_CHECKING:
    from delg.model import Delg

OWN_CONFIGURATION = "config.json"
CLASSIFIER = "classifier/vars/0"


def is_own(path: Path) -> bool:
    """Whether an HDF5 file has the layout of Keras 3 and the parts of our model."""
    arrays = shapes_in(path)
    return any(name.startswith(("embedding_layer/vars/", "backbone/layers/")) for name in arrays)


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays in an HDF5 file by their names.

    Raises:
      InputError: it cannot be read.
    """
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = tuple(item.shape)

    with open_h5(path) as file:
        file.visititems(note)
    return shapes


def delg_weights(path: Path, preset: str | None = None, block3_strides: bool | None = None) -> WeightSource:
    """Our own weights.

    Args:
      path: the file.
      preset: the model that they belong to; None where a ``config.json`` beside the file says so.
      block3_strides: replaces the preset's.

    Raises:
      InputError: the file cannot be read, or neither a preset nor a ``config.json`` says what model it is.
    """
    arrays = shapes_in(path)
    if preset is None:
        config = path.with_name(OWN_CONFIGURATION)
        document = read_json(config) if config.is_file() else None
        overrides = document.get("model") if isinstance(document, dict) else None
        if not isinstance(overrides, dict):
            raise InputError(f"{path} does not record its model: give --preset, or put its config.json beside it.")
        preset = OWN_CONFIGURATION
    else:
        classes = arrays.get(CLASSIFIER)
        overrides = {"num_classes": classes[-1]} if classes else {}
    if block3_strides is not None:
        overrides = overrides | {"block3_strides": block3_strides}
    return WeightSource("delg_weights", preset, overrides, (path,), {}, lambda _: None)


def load_own(source: WeightSource, model: "Delg") -> int:
    """Assigns the weights of :func:`delg_weights`; the model is unchanged when the file does not fit.

    Keras' own reader overlooks arrays that are too many, so names and shapes are compared with those that the model
    writes.

    Returns:
      The number of variables.

    Raises:
      InputError: arrays are missing, unexpected or of another shape; the sentence lists them.
    """
    path = source.files[0]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "expected.weights.h5"
        model.save_weights(written)
        complain(source, shapes_in(written), shapes_in(path))
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read as our weights: {error}") from error
    return len(model.weights)


def write_shared(model: "Delg", path: Path) -> None:
    """Writes all weights of a model as safetensors, by their paths and in the layout of Keras.

    Raises:
      InputError: two weights have one path.
    """
    import keras

    arrays = {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}
    if len(arrays) < len(model.weights):
        paths = [variable.path for variable in model.weights]
        twice = sorted({name for name in paths if paths.count(name) > 1})
        raise InputError(f"Two weights of the model are called {twice[0]}; give the layers of its parts names.")
    write_safetensors(path, arrays)


def read_shared(model: "Delg", path: Path) -> None:
    """Assigns what :func:`write_shared` wrote; the model is unchanged when the file does not fit.

    Raises:
      InputError: the file is damaged, or weights are missing, unexpected or of another shape; the sentence lists them.
    """
    stored = read_safetensors(path)
    assign(WeightSource("safetensors", "model of the config.json beside it", {}, (path,), stored, str), model)
