"""Recognises the format of a weight file by its contents."""

from pathlib import Path

from delg.common.errors import InputError
from delg.saving import CONFIG, is_model_folder

H5_START = b"\x89HDF"


def detect(path: Path) -> str:
    """The format of a file, a folder or a checkpoint prefix.

    Raises:
      InputError: nothing is there, it cannot be read, or none of the formats is recognised.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        if not Path(f"{path}.index").is_file():
            raise InputError(f"The input {path} does not exist.")
        return _checkpoint(path)
    if path.suffix == ".index" or ".data-0" in path.name:
        return _checkpoint(path)
    with path.open("rb") as file:
        start = file.read(len(H5_START))
    if start == H5_START:
        return _hdf5(path)
    from delg.common.safetensors_file import is_safetensors
    from delg.common.torch_file import is_torch_file

    if is_safetensors(path):
        from delg.importers.vit_weights import safetensors_format

        return safetensors_format(path)

    if is_torch_file(path):
        from delg.importers.torch_weights import torch_format

        return torch_format(path)
    raise InputError(
        f"{path} is neither a PyTorch file, nor safetensors, nor HDF5, nor a TensorFlow checkpoint (which is named by "
        "its prefix)."
    )


def _folder(path: Path) -> str:
    if is_model_folder(path):
        raise InputError(f"{path} is a model folder already.")
    if list(path.glob("*.safetensors")):
        from delg.importers.vit_weights import safetensors_format

        return safetensors_format(path)
    if (path / CONFIG).is_file():
        raise InputError(f"{path} is a model folder already.")
    if (path / "variables").is_dir() or (path / "saved_model.pb").is_file():
        return "delg_saved_model"
    if list(path.glob("*.index")):
        return _checkpoint(path)
    raise InputError(f"{path} holds neither an exported model, nor safetensors, nor a TensorFlow checkpoint.")


def _checkpoint(path: Path) -> str:
    from delg.importers.tensorflow_weights import checkpoint_prefix, read_checkpoint

    keys, _ = read_checkpoint(checkpoint_prefix(path))
    return "delg_saved_model" if keys.root == "_model/" else "delg_checkpoint"


def _hdf5(path: Path) -> str:
    from delg.importers.keras_h5 import layers_of
    from delg.importers.own_weights import is_own

    if is_own(path):
        return "delg_weights"
    layers = layers_of(path)
    if "backbone" in layers:
        return "delg_checkpoint"
    if {"conv1_conv", "res2a_branch2a", "fire2/squeeze1x1"} & set(layers):
        return "keras_applications"
    raise InputError(f"{path} is HDF5 but neither the released DELG's, nor ImageNet weights of Keras, nor ours.")
