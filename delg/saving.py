"""A model is one folder: ``config.json`` (text) and ``model.weights.h5``."""

import inspect
import os
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
LOCAL_WHITENING = "local_whitening.npz"  # may lie beside them, see extraction.whitening
ADAPTATION = "adaptation.npz"  # likewise, see extraction.adaptation
FORMAT = 1


def save(model: "Delg", folder: str | os.PathLike[str]) -> None:
    """Writes a model folder. The configuration goes first and comes last, so that a folder with one is whole."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / CONFIG).unlink(missing_ok=True)
    with atomic_path(place / WEIGHTS) as temporary:
        model.save_weights(temporary)
    write_json(place / CONFIG, {"format": FORMAT, "class": "Delg", "model": model.get_config()})


def is_model_folder(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a saved model."""
    return (Path(folder) / CONFIG).is_file() and (Path(folder) / WEIGHTS).is_file()


def model_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of :class:`delg.model.Delg` that a model folder was made with, or that a preset stands for.

    Raises:
      InputError: the folder is not a model folder, or its configuration is of another form.
    """
    if folder in PRETRAINED:
        return preset_config(str(folder))
    place = Path(folder)
    if not is_model_folder(place):
        raise InputError(f"{place} is not a model folder: expected {CONFIG} and {WEIGHTS} in it.")
    from delg.model import Delg

    document = read_json(place / CONFIG)
    config = document.get("model") if isinstance(document, dict) else None
    if not isinstance(config, dict) or document.get("format") != FORMAT:
        raise InputError(f"{place / CONFIG} is not a model configuration of format {FORMAT}.")
    unknown = sorted(set(config) - set(inspect.signature(Delg).parameters))
    if unknown:
        raise InputError(f"{place / CONFIG} holds unknown settings: {', '.join(unknown)}.")
    return config


def is_published(model: str | os.PathLike[str]) -> bool:
    """Whether :func:`load` takes a model's weights from the package index or the Hub, and not from a folder."""
    return model in PRETRAINED or str(model).startswith(HUB)


def weights_sha256(folder: str | os.PathLike[str]) -> str:
    """Identity of the weights that :func:`load` reads: their hexadecimal SHA-256, of the Hub after the commit."""
    if folder in PRETRAINED:
        return PUBLISHED[str(folder)].sha256
    if str(folder).startswith(HUB):
        from delg.weights.hub import digest

        return digest(str(folder), path(str(folder), offline=True))  # the commit that load() has just resolved
    return sha256(Path(folder) / WEIGHTS)


def load(folder: str | os.PathLike[str], *, weights: bool = True) -> "Delg":
    """Reads a model folder, or makes a model with published weights.

    Args:
      folder: what :func:`save` wrote; or a preset such as ``"efficientnet_lite2"``, which a folder of this name in the
        current one does not replace; or ``hf://org/name[@revision]`` with weights that ``delg-convert`` reads.
      weights: False builds the same model with fresh weights from Keras' global seed.

    Raises:
      InputError: the folder is not a model folder, or its weights do not fit its configuration, or published weights
        cannot be had.
    """
    if folder in PRETRAINED and weights:
        return from_preset(str(folder))
    if str(folder).startswith(HUB):
        from delg.importers.job import imported

        return imported(path(str(folder)), weights=weights)
    place, config = Path(folder), model_config(folder)
    from delg.model import Delg

    model = Delg(**config)
    if weights:
        try:
            model.load_weights(place / WEIGHTS)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{place / WEIGHTS} does not fit {CONFIG}: {first_line(error)}") from error
    return model
