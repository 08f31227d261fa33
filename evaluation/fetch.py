r"""Brings published weights, ground truth and photos by name: resumes after drops, checks hashes, unpacks, converts.

Weights become a model folder, model in --output_dir, where delg-convert can read them; exported models without
variables run as they are. A ground truth is checked, and written as JSON beside the file.

Example:
  delg-fetch --list
  delg-fetch roxford5k --output_dir=roxford5k
  delg-fetch gldv2_test --output_dir=gldv2
  delg-fetch delg_r50_gldv2clean --output_dir=weights --mirror=http://server/files
"""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLAGS = flags.FLAGS
POSITIONAL = "NAME"
flags.DEFINE_string("output_dir", None, "Folder for the files.")
flags.DEFINE_string("mirror", None, "Address below which the files lie by their names; tried before the known ones.")
flags.DEFINE_bool("offline", False, "Ask no server: verify, unpack and convert what is there.")
flags.DEFINE_string(
    "catalogue", None, "JSON file with names of your own: {name: [{name, urls, sha256, unpack, convert, md5_urls}]}."
)
flags.DEFINE_bool("convert", True, "Convert what has come.")
flags.DEFINE_bool("list", False, "Only print the names, their files, addresses and hashes.")


def main(arguments: list[str]) -> None:
    """Brings what a name stands for.

    Args:
      arguments: the name.

    Raises:
      InputError: an unknown name, or a file that cannot be had, is not of its hash, or cannot be converted.
    """
    from delg.common.errors import InputError
    from evaluation.data.catalogue import CATALOGUE, listing, read_catalogue
    from evaluation.data.fetching import convert_ground_truth, fetch

    names = CATALOGUE | (read_catalogue(FLAGS.catalogue) if FLAGS.catalogue else {})
    if FLAGS.list:
        print("\n".join(listing(names)))
        return
    if len(arguments) != 1 or arguments[0] not in names:
        received = " ".join(arguments) or "nothing"
        raise InputError(f"Expected one name among {', '.join(sorted(names))}. Received: {received}")
    if not FLAGS.output_dir:
        raise InputError("Expected --output_dir.")
    converters = {"ground_truth": convert_ground_truth, "model": _convert_model} if FLAGS.convert else None
    places = {"mirror": FLAGS.mirror or None, "offline": FLAGS.offline}
    fetch(names[arguments[0]], FLAGS.output_dir, converters=converters, **places)


def _convert_model(path: "Path", folder: "Path") -> "Iterator[str]":
    """Makes the model folder ``model`` of weights; an exported model that has no variables stays as it is."""
    from delg.common.errors import InputError, first_line
    from delg.importers.job import ConvertOptions, convert

    try:
        yield from convert(ConvertOptions(input=str(path), output_dir=str(folder / "model")))
    except InputError as error:
        if not (path / "saved_model.pb").is_file():
            raise
        yield f"{first_line(error)} It runs as it is: --model={path}"
