"""Writes an export: a folder that is whole or absent."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, write_json
from delg.exporting.options import ExportOptions

if TYPE_CHECKING:
    from delg.model import Delg

EXTRACTION = "assets.extra/extraction.json"
Signatures = Mapping[str, Any]


def check_place(folder: str | os.PathLike[str], options: ExportOptions) -> None:
    """Checks what can be checked before the model is loaded.

    Raises:
      InputError: the folder holds something or cannot be written, or an extra that the kind needs is not installed.
    """
    place = Path(folder)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"The output folder {place} must be absent or empty; an export replaces nothing.")
    check_writable(place.absolute().parent)
    if options.kind == "onnx":
        from delg.exporting.onnx import converter

        converter()


def export_model(model: "Delg", options: ExportOptions, folder: str | os.PathLike[str]) -> list[str]:
    """Writes one export, of the network that the model's own extraction uses.

    Args:
      model: see :class:`delg.model.Delg`.
      options: what is exported.
      folder: an empty or absent one.

    Returns:
      A line for each signature.

    Raises:
      InputError: the model lacks a head that the kind needs.
    """
    model = as_extracted(model)
    heads = options.heads(model)
    if options.kind == "onnx":
        from delg.exporting.onnx import write_onnx

        return write_onnx(model, heads, options.normalize_global_descriptor, folder)
    if options.kind == "batch":
        from delg.exporting.batch import batch_signatures

        return write_saved_model(model, batch_signatures(model, heads, options.normalize_global_descriptor), folder)
    from delg.exporting.signatures import released_signature

    return write_saved_model(model, {"serving_default": released_signature(model, options)}, folder)


def as_extracted(model: "Delg") -> "Delg":
    """The model with SuperGlobal's switches set as its own extraction sets them.

    Raises:
      InputError: its backbone cannot do that.
    """
    from delg.superglobal import Switches, adapted

    names = [field.name for field in fields(Switches)]
    return adapted(model, Switches(**{name: model.extraction[name] for name in names if name in model.extraction}))


def write_saved_model(model: "Delg", signatures: Signatures, folder: str | os.PathLike[str]) -> list[str]:
    """Writes a SavedModel that needs nothing but TensorFlow.

    Only the variables that the signatures use are written, without the Keras objects around them, at their places in
    the released object graph, so that ``delg-convert`` reads them. ``assets.extra/extraction.json`` holds the model's
    own scales and limits, which the program that calls a signature supplies.

    Args:
      model: the one that the signatures were made of.
      signatures: by name, each a ``tf.function`` with an input signature.
      folder: an empty or absent one.

    Returns:
      A line for each signature.
    """
    import tensorflow as tf

    from delg.importers.names import checkpoint_name

    root = tf.Module()
    traced = {name: signature.get_concrete_function() for name, signature in signatures.items()}
    used = {id(variable) for function in traced.values() for variable in function.variables}
    for variable in model.weights:
        if id(variable.value) in used:
            _attach(root, ("_model", *checkpoint_name(variable.path).split("/")), variable.value)
    with atomic_path(folder) as temporary:
        tf.saved_model.save(root, os.fspath(temporary), signatures=traced)
        write_json(temporary / EXTRACTION, model.extraction)
    return [f"{os.fspath(folder)}: {name}{_described(function)}" for name, function in traced.items()]


def _attach(place: Any, path: tuple[str, ...], value: Any) -> None:
    """Hangs a variable below a ``tf.Module``, one module for each part of its path."""
    import tensorflow as tf

    *parents, leaf = path
    for parent in parents:
        if not hasattr(place, parent):
            setattr(place, parent, tf.Module())
        place = getattr(place, parent)
    setattr(place, leaf, value)


def _described(function: Any) -> str:
    """``(images uint8 [None, None, 3]) -> boxes, features``."""
    inputs = [f"{spec.name} {spec.dtype.name} {spec.shape}" for spec in function.structured_input_signature[0]]
    inputs += [
        f"{name} {spec.dtype.name} {spec.shape}" for name, spec in function.structured_input_signature[1].items()
    ]
    return f"({', '.join(inputs)}) -> {', '.join(sorted(function.structured_outputs))}"
