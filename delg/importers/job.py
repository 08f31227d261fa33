"""The conversion of one weight file to a model folder."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delg import weights
from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, read_json, sha256
from delg.common.options import fingerprint
from delg.importers.detect import detect
from delg.importers.efficientnet_lite import efficientnet_lite
from delg.importers.keras_h5 import keras_applications
from delg.importers.options import FORMATS, ConvertOptions
from delg.importers.own_weights import OWN_CONFIGURATION, delg_weights, load_own
from delg.importers.source import WeightSource
from delg.importers.strict import assign
from delg.importers.tensorflow_weights import delg_checkpoint, delg_saved_model
from delg.importers.torch_weights import cvnet, delg_pytorch, superglobal
from delg.importers.vit_weights import dinov2, dinov3, siglip
from delg.presets import preset_config
from delg.weights.catalogue import WEIGHTS

if TYPE_CHECKING:
    from delg.model import Delg

TORCH: dict[str, Callable[[Path], WeightSource]] = {
    "cvnet": cvnet,
    "superglobal": superglobal,
    "delg_pytorch": delg_pytorch,
    "efficientnet_lite": efficientnet_lite,
}
VIT: dict[str, Callable[[Path, str | None], WeightSource]] = {"dinov2": dinov2, "dinov3": dinov3, "siglip": siglip}
KERAS: dict[str, Callable[[Path, bool | None], WeightSource]] = {
    "delg_checkpoint": delg_checkpoint,
    "delg_saved_model": delg_saved_model,
    "keras_applications": keras_applications,
}


def convert(options: ConvertOptions) -> list[str]:
    """Makes a model folder of a weight file, whole or not at all.

    Args:
      options: what to convert.

    Returns:
      Sentences on what was done, for the user.

    Raises:
      InputError: a wrong option, a file that cannot be read or does not fit; nothing is written then.
    """
    output = Path(str(options.output_dir))
    source = read_source(options)
    provenance = _provenance(source, options)
    if _is_there(output, provenance):
        return [f"{output} already holds this conversion."]
    check_writable(output.absolute().parent)
    from delg.saving import save

    model = build(source, options.seed)
    count = load_own(source, model) if source.format == "delg_weights" else assign(source, model)
    with atomic_path(output) as temporary:
        save(model, temporary, provenance=provenance | {"weights": count})
    return [_summary(source, model, count, output), *source.notes]


def build(source: WeightSource, seed: int | None = None) -> "Delg":
    """The model that a file belongs to, with fresh weights from a seed, or from Keras' global one.

    Raises:
      InputError: the file's configuration has an argument that the model does not know or take.
    """
    import keras

    from delg.model import Delg

    if seed is not None:
        keras.utils.set_random_seed(seed)
    try:
        return Delg(**_configuration(source))
    except TypeError as error:
        raise InputError(f"The configuration beside {source.files[0]} does not fit the model: {error}.") from error


def _configuration(source: WeightSource) -> dict[str, Any]:
    """The arguments of the model that a file belongs to."""
    return ({} if source.preset == OWN_CONFIGURATION else preset_config(source.preset)) | source.overrides


def imported_config(path: Path) -> dict[str, Any]:
    """The arguments of the model that :func:`imported` makes.

    Raises:
      InputError: as :func:`convert`.
    """
    return _configuration(read_source(ConvertOptions(input=str(path))))


def provenance_of_file(path: Path) -> dict[str, Any]:
    """What :func:`convert` would record of a file or folder.

    Raises:
      InputError: as :func:`convert`.
    """
    options = ConvertOptions(input=str(path))
    return _provenance(read_source(options), options)


def imported(path: Path, *, weights: bool = True) -> "Delg":
    """The model of a file or folder that :func:`convert` reads, in memory.

    Args:
      path: the file or folder.
      weights: False leaves the fresh weights.

    Raises:
      InputError: as :func:`convert`.
    """
    source = read_source(ConvertOptions(input=str(path)))
    model = build(source)
    if weights:
        assign(source, model)
    return model


def read_source(options: ConvertOptions) -> WeightSource:
    """Opens the input in its format and applies the preset and the heads of the options.

    Raises:
      InputError: as :func:`convert`.
    """
    text = str(options.input)
    path = weights.path(text) if text in WEIGHTS or text.startswith(weights.HUB) else Path(text)
    if options.preset:
        preset_config(options.preset)
    form = options.format or detect(path)
    if form not in FORMATS:
        raise InputError(f"Unknown format {form!r}; the choices are {', '.join(FORMATS)}.")
    if options.format and not path.exists() and not Path(f"{path}.index").is_file():
        raise InputError(f"The input {path} does not exist.")
    if form in TORCH or form in VIT:
        if options.block3_strides is not None:
            raise InputError(f"--block3_strides is a choice of the released DELG; a {form} network has none.")
        source = TORCH[form](_file(path)) if form in TORCH else VIT[form](path, options.pooling)
    elif form == "delg_weights":
        source = delg_weights(_file(path), options.preset, options.block3_strides)
    else:
        source = KERAS[form](path, options.block3_strides)
    heads = {"local_head": options.local_head, "pooling": options.pooling}
    source = replace(source, overrides=source.overrides | {name: text for name, text in heads.items() if text})
    return replace(source, preset=options.preset) if options.preset else source


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"The input {path} is not a file.")
    return path


def _provenance(source: WeightSource, options: ConvertOptions) -> dict[str, Any]:
    text = str(options.input)
    published = {"published": text} if text in WEIGHTS else {}
    if text.startswith(weights.HUB):
        published = {"published": f"{text.partition('@')[0]}@{source.files[0].parent.name}"}  # the commit
    return {
        **published,
        "format": source.format,
        "preset": source.preset,
        **fingerprint(options),
        "files": {file.name: sha256(file) for file in source.files},
    }


def _is_there(output: Path, provenance: dict[str, Any]) -> bool:
    """Whether the output folder holds the result already.

    Raises:
      InputError: it holds something else, which is not overwritten.
    """
    if not output.exists() or (output.is_dir() and not any(os.scandir(output))):
        return False
    document = read_json(output / "config.json") if (output / "config.json").is_file() else {}
    there = document.get("provenance") if isinstance(document, dict) else None
    if isinstance(there, dict) and {key: there.get(key) for key in provenance} == provenance:
        return True
    raise InputError(f"The output {output} is not empty and holds something else; give a new folder.")


def _summary(source: WeightSource, model: "Delg", count: int, output: Path) -> str:
    total = len(model.weights)
    fresh = f"; {total - count} keep fresh values, which mean nothing before a training" if count < total else ""
    names = ", ".join(file.name for file in source.files)
    return f"{names} ({source.format}) -> {output}: {source.preset}, {count} of {total} weights read{fresh}."
