"""A model is one folder: ``config.json`` (text) and its weights, ``model.weights.h5`` or ``model.safetensors``."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError, first_line
from delg.common.files import atomic_path, read_json, sha256, write_json
from delg.presets import PRETRAINED, from_preset, preset_config
from delg.weights import HUB, path
from delg.weights.catalogue import WEIGHTS as PUBLISHED

if TYPE_CHECKING:
    from delg.model import Delg

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
SHARED_WEIGHTS = "model.safetensors"
LOCAL_WHITENING = "local_whitening.npz"  # may lie beside them, see extraction.whitening
ADAPTATION = "adaptation.npz"  # likewise, see extraction.adaptation
FORMAT, CLASS = 1, "Delg"
Name = str | os.PathLike[str]  # of a model: a folder, a preset with published weights, or hf://org/name[@revision]


def save(
    model: "Delg", folder: Name, *, safetensors: bool = False, provenance: Mapping[str, Any] | None = None
) -> None:
    """Writes a model folder. The configuration goes first and comes last, so that a folder with one is whole.

    Args:
      model: the model.
      folder: made if absent; a model in this folder is replaced.
      safetensors: write the weights as ``model.safetensors``, to be shared, and not as Keras' ``model.weights.h5``.
      provenance: JSON values to record where the weights are from; see :func:`provenance_of`.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / CONFIG).unlink(missing_ok=True)
    written, other = (SHARED_WEIGHTS, WEIGHTS) if safetensors else (WEIGHTS, SHARED_WEIGHTS)
    with atomic_path(place / written) as temporary:
        if safetensors:
            from delg.importers.own_weights import write_shared

            write_shared(model, temporary)
        else:
            model.save_weights(temporary)
    (place / other).unlink(missing_ok=True)
    document = {"format": FORMAT, "class": CLASS, "model": model.get_config()}
    write_json(place / CONFIG, document | ({"provenance": dict(provenance)} if provenance else {}))


def is_model_folder(folder: Name) -> bool:
    """Whether a folder holds a saved model; those of other programs may also have files of these names."""
    place = Path(folder)
    if not (place / CONFIG).is_file():
        return False
    return (place / WEIGHTS).is_file() or (
        (place / SHARED_WEIGHTS).is_file() and _document(place).get("class") == CLASS
    )


def _document(place: Path) -> dict[str, Any]:
    """The configuration of a model folder; empty where the file holds something else."""
    document = read_json(place / CONFIG)
    return document if isinstance(document, dict) else {}


def _weights_in(place: Path) -> Path:
    """The file of weights in a model folder."""
    return place / (WEIGHTS if (place / WEIGHTS).is_file() else SHARED_WEIGHTS)


def folder_of(model: Name) -> Path | None:
    """The folder that a model is read from, of the Hub in its cache; None for a preset with published weights."""
    return None if model in PRETRAINED else _place(model)


def _place(model: Name) -> Path:
    """The path itself; of a repository of the Hub its folder, which is fetched if need be."""
    return path(str(model)) if str(model).startswith(HUB) else Path(model)


def _is_foreign(model: Name, place: Path) -> bool:
    """Whether a repository of the Hub holds weights of another program."""
    return str(model).startswith(HUB) and not is_model_folder(place)


def model_config(model: Name) -> dict[str, Any]:
    """The arguments of :class:`delg.model.Delg` that a model has.

    Args:
      model: as in :func:`load`.

    Raises:
      InputError: the folder is not a model folder, or its configuration is of another form.
    """
    if model in PRETRAINED:
        return preset_config(str(model))
    place = _place(model)
    if _is_foreign(model, place):
        from delg.importers.job import imported_config

        return imported_config(place)
    if not is_model_folder(place):
        raise InputError(f"{place} is not a model folder: expected {CONFIG} and {WEIGHTS} or {SHARED_WEIGHTS} in it.")
    document = _document(place)
    config = document.get("model")
    if not isinstance(config, dict) or document.get("format") != FORMAT:
        raise InputError(f"{place / CONFIG} is not a model configuration of format {FORMAT}.")
    return config


def provenance_of(model: Name) -> dict[str, Any]:
    """What is recorded of the weights of a model, as JSON values; empty where nothing is.

    ``published`` names what was fetched; ``format`` and ``files`` are those of a conversion; ``trained`` holds the
    numbers and settings of a training, and ``start`` the provenance of the model that the training began with.
    """
    if model in PRETRAINED:
        return {"published": str(model)}
    place = _place(model)
    published = {"published": f"{str(model).partition('@')[0]}@{place.name}"} if str(model).startswith(HUB) else {}
    if _is_foreign(model, place):
        from delg.importers.job import provenance_of_file

        return published | provenance_of_file(place)
    recorded = _document(place).get("provenance")
    return published | (recorded if isinstance(recorded, dict) else {})


def weights_sha256(model: Name) -> str:
    """Identity of the weights that :func:`load` reads: their hexadecimal SHA-256.

    Of weights of another program on the Hub, repository and commit stand before the hash.
    """
    if model in PRETRAINED:
        return PUBLISHED[str(model)].sha256
    place = _place(model)
    if _is_foreign(model, place):
        from delg.weights.hub import digest

        return digest(str(model), place)
    return sha256(_weights_in(place))


def load(model: Name, *, weights: bool = True) -> "Delg":
    """Reads a model folder, or makes a model with published weights.

    Args:
      model: a folder that :func:`save` wrote; or a preset such as ``"efficientnet_lite2"``, which a folder of this name
        in the current one does not replace; or ``hf://org/name[@revision]``, which holds such a folder, or weights that
        ``delg-convert`` reads.
      weights: False builds the same model with fresh weights from Keras' global seed.

    Raises:
      InputError: the folder is not a model folder, or its weights do not fit its configuration, or published weights
        cannot be had.
    """
    if model in PRETRAINED and weights:
        return from_preset(str(model))
    place = _place(model)
    if _is_foreign(model, place):
        from delg.importers.job import imported

        return imported(place, weights=weights)
    from delg.model import Delg

    config = model_config(model)
    unknown = sorted(set(config) - set(inspect.signature(Delg).parameters))
    if unknown:
        raise InputError(f"{place / CONFIG} holds unknown settings: {', '.join(unknown)}.")
    made = Delg(**config)
    file = _weights_in(place)
    if weights and file.name == SHARED_WEIGHTS:
        from delg.importers.own_weights import read_shared

        read_shared(made, file)
    elif weights:
        try:
            made.load_weights(file)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{file} does not fit {CONFIG}: {first_line(error)}") from error
    return made
