"""The released Keras DELG: weight checkpoints, training checkpoints and exported models.

References:
  Released code `delf/python/training/train.py` (`delf_weights`, `delf_tf2-ckpt`) and
  `delf/python/training/model/export_*_model.py`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError, first_line
from delg.importers.names import depth_of
from delg.importers.source import Stored, WeightSource
from delg.importers.tensorflow_names import GRAPH, CheckpointKeys, Names

STRIDES_NOTE = (
    "The file does not record block3_strides; it is on, as in the released training and joint export "
    "(--noblock3_strides turns it off)."
)
ATTENTION = [f"local_head/attention/attn_conv{i}/{leaf}" for i in (1, 2) for leaf in ("kernel", "bias")]
ATTENTION += [f"local_head/attention/bn_conv1/{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")]
AUTOENCODER = [f"local_head/autoencoder/autoenc_conv{i}/{leaf}" for i in (1, 2) for leaf in ("kernel", "bias")]


def checkpoint_prefix(path: Path) -> Path:
    """The prefix of the checkpoint that a user means: a prefix, one of its files, or a folder with one.

    Raises:
      InputError: there is none, or a folder holds several and does not say which is the last.
    """
    if path.is_dir():
        folder = path / "variables" if (path / "variables").is_dir() else path
        prefixes = [file.with_suffix("") for file in folder.glob("*.index")]
        if len(prefixes) > 1:
            import tensorflow as tf

            latest = tf.train.latest_checkpoint(str(folder))
            prefixes = [Path(latest)] if latest else prefixes
        if len(prefixes) != 1:
            raise InputError(f"{path} does not hold one checkpoint; give the prefix of one (its file is PREFIX.index).")
        return prefixes[0]
    prefix = path.with_name(path.name.partition(".data-0")[0].removesuffix(".index"))
    if not Path(f"{prefix}.index").is_file():
        raise InputError(f"{prefix} is no TensorFlow checkpoint: {prefix}.index does not exist.")
    return prefix


def read_checkpoint(prefix: Path) -> tuple[CheckpointKeys, dict[str, Stored]]:
    """The keys and values of a checkpoint.

    Raises:
      InputError: it cannot be read.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    broken = (tf.errors.OpError, ValueError, RuntimeError)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        graph = TrackableObjectGraph.FromString(reader.get_tensor(GRAPH)) if GRAPH in shapes else None
    except broken as error:
        raise InputError(f"{prefix} cannot be read as a TensorFlow checkpoint: {first_line(error)}") from error

    def stored(key: str) -> Stored:
        def read() -> np.ndarray:
            try:
                return np.asarray(reader.get_tensor(key))
            except broken as error:
                raise InputError(f"{prefix} is damaged: {key} cannot be read: {first_line(error)}") from error

        return Stored(tuple(shapes[key]), read)

    return CheckpointKeys(shapes, graph), {key: stored(key) for key in shapes}


def delg_checkpoint(path: Path, block3_strides: bool | None = None) -> WeightSource:
    """Weights that the released training wrote: ``delf_weights``, ``tf.train.Checkpoint``, or the same as HDF5.

    Args:
      path: prefix, file or folder.
      block3_strides: of the model, which the file does not record; None for the released default, on.
    """
    if path.is_file() and path.suffix in (".h5", ".hdf5"):
        from delg.importers.keras_h5 import released_weights

        return source_of("delg_checkpoint", (path,), *released_weights(path), block3_strides)
    return _source("delg_checkpoint", checkpoint_prefix(path), block3_strides)


def delg_saved_model(path: Path, block3_strides: bool | None = None) -> WeightSource:
    """The variables of an exported TF2 model: its folder, or the prefix ``variables/variables``.

    Raises:
      InputError: it has no variables, as the models that TF1 exported, or they cannot be read.
    """
    if (path / "saved_model.pb").is_file() and not list(path.glob("variables/*.index")):
        raise InputError(f"{path} has no variables to convert; give it to delg-extract --model= as it is.")
    return _source("delg_saved_model", checkpoint_prefix(path), block3_strides)


def _source(form: str, prefix: Path, block3_strides: bool | None) -> WeightSource:
    files = (Path(f"{prefix}.index"), *sorted(prefix.parent.glob(f"{prefix.name}.data-*")))
    return source_of(form, files, *read_checkpoint(prefix), block3_strides)


def source_of(
    form: str, files: tuple[Path, ...], names: Names, stored: dict[str, Stored], block3_strides: bool | None
) -> WeightSource:
    """Reads the model's configuration off the names and shapes of its weights.

    A part that is absent as a whole (autoencoder, classifiers) is absent in the model, but attention only in that of
    an export, since the released training always has it; a part of which one weight is there is expected with all.

    Args:
      form: name of the format.
      files: for the record.
      names: where the weights lie.
      stored: all values by their names in the file.
      block3_strides: as in :func:`delg_checkpoint`.
    """
    keys = set(names.weights())
    return WeightSource(
        format=form,
        preset=f"delg_{depth_of(_units(names))}",
        overrides={"block3_strides": block3_strides is not False, **_configuration(form, names, stored)},
        files=files,
        stored={name: value for name, value in stored.items() if name in keys},
        name=lambda path: names.found(path) or names.official(path),
        notes=(STRIDES_NOTE,) if block3_strides is None else (),
    )


def _configuration(form: str, names: Names, stored: dict[str, Stored]) -> dict[str, Any]:
    def size(path: str) -> int | None:
        name = names.found(path)
        return stored[name].shape[-1] if name and stored[name].shape else None

    def present(paths: list[str]) -> bool:
        return any(names.found(path) for path in paths)

    sizes = {
        "embedding_dim": size("embedding_layer/kernel"),
        "local_dim": size(AUTOENCODER[0]),
        "attention_channels": size(ATTENTION[0]),
        "num_classes": size("classifier/cosine_weights") or size("att_fc/bias"),
    }
    config: dict[str, Any] = {key: value for key, value in sizes.items() if value}
    if not present(AUTOENCODER):
        config["local_dim"] = None
        if form == "delg_saved_model" and not present(ATTENTION):
            config["local_head"] = None
    scale = stored.get(names.scale() or "")
    if scale is not None:
        config["arcface_scale"] = float(np.asarray(scale.read()).reshape(-1)[0])
    return config


def _units(names: Names) -> int:
    """Units in stage 4 of which a kernel is there."""
    letters = (chr(ord("a") + i) for i in range(26))
    return sum(any(names.found(f"res4{letter}_branch2{part}/kernel") for part in "abc") for letter in letters)
