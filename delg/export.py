"""delg-export: writes a trained model as files for programs without this package.

The kinds local, global and local_and_global are SavedModels with the released signatures (one uint8 image and its
scales), which a program written for the released models loads unchanged. The kind batch is a SavedModel for a model
server (images of one size in a batch), the kind onnx the same for ONNX runtimes. The kind safetensors is a model folder
to be shared, such as on the Hugging Face Hub: weights, configuration and a model card with the numbers of --report.

Example:
  delg-export --model=my_model --output_dir=exported --kind=local_and_global
  delg-export --model=my_model --output_dir=shared --kind=safetensors --report=report/report.json --licence=apache-2.0
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from delg.common.options import define_flags, from_flags
from delg.exporting.options import ExportOptions

define_flags(ExportOptions)


def main() -> None:
    """Checks the flags, loads the model, writes the export.

    Raises:
      InputError: a flag is missing or does not fit, or the model cannot be loaded or lacks a head.
    """
    from delg.common.errors import InputError
    from delg.exporting.options import SHARED

    options = from_flags(ExportOptions)
    if not options.model or not options.output_dir:
        raise InputError(f"--{'output_dir' if options.model else 'model'} is required.")
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow" and options.kind != SHARED:
        raise InputError(
            f"The export needs the TensorFlow backend of Keras, not {backend!r}; set KERAS_BACKEND=tensorflow."
        )
    from delg.exporting.files import check_place, export_model
    from delg.saving import ADAPTATION, LOCAL_WHITENING, folder_of, load

    check_place(options.output_dir, options)
    if options.kind == SHARED:
        _share(options.model, options.output_dir, options)
        return
    for line in export_model(load(options.model), options, options.output_dir):
        print(line)
    folder = folder_of(options.model)
    left_out = {LOCAL_WHITENING: "local descriptors are not whitened", ADAPTATION: "global descriptors are not adapted"}
    for file, what in left_out.items():
        if folder is not None and (folder / file).is_file():
            print(f"{file} of {options.model} is not part of the export: the exported {what}.")


def _share(model: str, output_dir: str, options: ExportOptions) -> None:
    """Writes the folder to be shared, with the whitening and the adaptation that the model has."""
    from pathlib import Path

    from delg.common.files import atomic_path
    from delg.exporting.share import share
    from delg.saving import ADAPTATION, LOCAL_WHITENING, folder_of, weights_sha256
    from extraction import adaptation, whitening

    weights, folder = weights_sha256(model), folder_of(model)
    learned = whitening.load(folder, weights) if folder is not None else None
    adapted = adaptation.load(folder, weights) if folder is not None else None
    digest = adapted.digest() if adapted else None
    results = "\n\n".join(_results(path, model, weights, digest) for path in options.report or ())
    beside = {ADAPTATION: f"length and SHA-256 {digest}"} if adapted else {}
    beside |= {LOCAL_WHITENING: "whitening of local descriptors"} if learned is not None else {}
    title = Path(output_dir).absolute().name
    with atomic_path(output_dir) as temporary:
        lines = share(model, temporary, title, licence=options.licence, results=results, beside=beside)
        if learned is not None:
            whitening.save(learned, temporary, weights_sha256(temporary))
        if adapted is not None:
            adaptation.save(adapted, temporary, weights_sha256(temporary))
        names = ", ".join(sorted(path.name for path in temporary.iterdir()))
    for line in (f"{output_dir}: {names}", *lines):
        print(line)


def _results(path: str, model: str, weights: str, adaptation: str | None) -> str:
    """What a report says, for the card.

    Raises:
      InputError: it is no report, or not of features of this model.
    """
    from delg.common.errors import InputError
    from delg.common.files import read_json
    from evaluation.report.model import Report
    from evaluation.report.text import of_card

    report = Report.from_json(read_json(path))
    entries = list(_entries(report.settings))
    adaptations = {value for name, value in entries if name == "adaptation"} or {None}
    if ("weights_sha256", weights) not in entries or adaptation not in adaptations:
        raise InputError(f"The report {path} measures other weights, or another adaptation, than those of {model}.")
    return of_card(report)


def _entries(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings and those below them."""
    for name, value in settings.items():
        yield name, value
        if isinstance(value, dict):
            yield from _entries(value)
