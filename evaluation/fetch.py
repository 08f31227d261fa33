r"""Brings published weights, ground truth and photos by name: resumes after drops, checks hashes, unpacks, converts.

Weights become a model folder, model in --output_dir, where delg-convert can read them; exported models without
variables run as they are. A ground truth is checked, and written as JSON beside the file. Weights that lie on the
package index, such as efficientnet_lite2, are kept under DELG_HOME (~/.cache/delg), where every command finds them, and
repositories hf://org/name of the Hugging Face Hub in its own cache.

Example:
  delg-fetch --list
  delg-fetch efficientnet_lite2
  delg-fetch hf://facebook/dinov2-small
  delg-fetch roxford5k --output_dir=roxford5k
  delg-fetch gldv2_test --output_dir=gldv2
  delg-fetch delg_r50_gldv2clean --output_dir=weights --mirror=http://server/files
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from delg.common.options import define_flags, from_flags, option, refuse, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSITIONAL = "NAME"


@dataclass(frozen=True)
class FetchOptions:
    """One field for each flag."""

    output_dir: str | None = option(None, "Folder for the files; not for weights of the package index.")
    mirror: str | None = option(None, "Address below which the files lie by their names; tried before the known ones.")
    offline: bool = option(False, "Ask no server: verify, unpack and convert the files that exist.")
    catalogue: str | None = option(
        None, "JSON file with names of your own: {name: [{name, urls, sha256, unpack, convert, md5_urls}]}."
    )
    convert: bool = option(True, "Convert the files.")
    list: bool = option(
        False, "Only print the names, their files, addresses and hashes; of weights size, licence and use, too."
    )


define_flags(FetchOptions)


def main(arguments: list[str]) -> None:
    """Fetches the files of a catalogue name.

    Args:
      arguments: the name.

    Raises:
      InputError: an unknown name, or a file that cannot be downloaded or converted, or has another hash.
    """
    from delg import weights
    from delg.common.errors import InputError
    from delg.weights.catalogue import WEIGHTS
    from delg.weights.catalogue import listing as listing_of_weights
    from evaluation.data.catalogue import CATALOGUE, listing, read_catalogue
    from evaluation.data.fetching import convert_ground_truth, fetch

    options = from_flags(FetchOptions)
    names = CATALOGUE | (read_catalogue(options.catalogue) if options.catalogue else {})
    if options.list:
        print("\n".join([*listing(names), *listing_of_weights()]))
        return
    of_hub = len(arguments) == 1 and arguments[0].startswith(weights.HUB)
    if len(arguments) != 1 or not (of_hub or arguments[0] in names | WEIGHTS):
        received = " ".join(arguments) or "nothing"
        listed = ", ".join(sorted(names | WEIGHTS))
        raise InputError(f"Expected one name among {listed}, or {weights.HUB}org/name. Received: {received}")
    if arguments[0] not in names:
        place = "the cache of the Hub" if of_hub else weights.home()
        refuse(f"{arguments[0]}, which is kept in {place}", options, ["output_dir", "mirror", "convert"])
        print(f"{weights.path(arguments[0], offline=options.offline)}{'' if of_hub else ': its hash is right.'}")
        return
    require(options, ["output_dir"])
    converters = {"ground_truth": convert_ground_truth, "model": _convert_model} if options.convert else None
    files = names[arguments[0]]
    fetch(files, str(options.output_dir), converters=converters, mirror=options.mirror, offline=options.offline)


def _convert_model(path: "Path", folder: "Path") -> "Iterator[str]":
    """Converts weights to the model folder ``model``; an exported model without variables stays unchanged."""
    from delg.common.errors import InputError, first_line
    from delg.importers.job import ConvertOptions, convert

    try:
        yield from convert(ConvertOptions(input=str(path), output_dir=str(folder / "model")))
    except InputError as error:
        if not (path / "saved_model.pb").is_file():
            raise
        yield f"{first_line(error)} It runs as it is: --model={path}"
