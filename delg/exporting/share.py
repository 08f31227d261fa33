"""A folder to be shared: configuration, safetensors, and the card of the model."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.files import write_text
from delg.exporting.card import FILE, licence_of, model_card
from delg.saving import SHARED_WEIGHTS, Name, load, provenance_of, save, weights_sha256


def share(
    name: Name,
    folder: str | os.PathLike[str],
    title: str,
    *,
    licence: str | None = None,
    results: str = "",
    beside: Mapping[str, str] | None = None,
) -> list[str]:
    """Writes a model with its card to an empty or absent folder, and reads the weights again.

    Args:
      name: of the model, see :func:`delg.load`.
      folder: a new one.
      title: name of the model on its card.
      licence: the Hub's identifier, see :func:`delg.exporting.card.licence_of`.
      results: Markdown with what was measured.
      beside: what lies beside the weights and is applied with them, for the card; by file.

    Returns:
      Sentences for the user.

    Raises:
      InputError: the model cannot be loaded or written, or the licence does not hold.
    """
    provenance = provenance_of(name)
    licence = licence_of(provenance, licence)
    model = load(name)
    save(model, folder, safetensors=True, provenance=provenance)
    for ours, theirs in zip(model.weights, load(folder).weights, strict=True):
        if not np.array_equal(np.asarray(ours), np.asarray(theirs)):
            raise InputError(f"The weight {ours.path} is not the same when it is read again; nothing was written.")
    hashes = {
        "values": model.count_params(),
        "made of weights with the SHA-256": weights_sha256(name),
        f"SHA-256 of {SHARED_WEIGHTS}": weights_sha256(folder),
    } | dict(beside or {})
    card = model_card(title, model.get_config(), provenance, hashes, licence=licence, results=results)
    write_text(Path(folder) / FILE, card)
    if licence:
        return [f"The licence on the card is {licence}."]
    return ["The card names no licence, and nobody may use the model without one: --licence=apache-2.0 names one."]
