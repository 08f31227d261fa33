"""What ``delg-fetch`` knows by name: where files lie, their hashes as far as they are known, and what is unpacked."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.check import KNOWN
from extraction.official import check_name
from protos.errors import InputError
from protos.files import read_json

REVISITOP = "http://cmp.felk.cvut.cz/revisitop/data/datasets"
OXFORD = ("https://thor.robots.ox.ac.uk", "https://www.robots.ox.ac.uk/~vgg/data")
DELF = "https://storage.googleapis.com/delf"


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
      name: below the output folder.
      urls: where it lies, mirrors after it.
      sha256: of its bytes; None where nobody has published one, then that of the first download is kept.
      unpack: ``"jpg"`` puts the images of the archive, whatever their folders, into the folder ``jpg``; ``"tree"``
        unpacks it as it is; None leaves it.
      convert: what is done with it then: ``"ground_truth"`` (checked, and written as JSON beside it) or ``"model"`` (a
        model folder ``model``, by what delg-convert tells from the file); None for nothing.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None
    unpack: str | None = None
    convert: str | None = None


UNPACK, CONVERT = ("jpg", "tree"), ("ground_truth", "model")


def _revisited(name: str, place: str, *archives: str) -> tuple[File, ...]:
    gnd = f"gnd_{name}.pkl"
    truth = File(gnd, (f"{REVISITOP}/{name}/{gnd}",), KNOWN[gnd], convert="ground_truth")
    return truth, *(File(a, tuple(f"{base}/{place}/{a}" for base in OXFORD), unpack="jpg") for a in archives)


def _weights(archive: str) -> tuple[File, ...]:
    return (File(archive, (f"{DELF}/{archive}",), unpack="tree", convert="model"),)


CATALOGUE: dict[str, tuple[File, ...]] = {
    "roxford5k": _revisited("roxford5k", "oxbuildings", "oxbuild_images-v1.tgz"),
    "rparis6k": _revisited("rparis6k", "parisbuildings", "paris_1-v1.tgz", "paris_2-v1.tgz"),
    "delg_r50_gldv1": _weights("r50delg_gld_20200814.tar.gz"),
    "delg_r101_gldv1": _weights("r101delg_gld_20200814.tar.gz"),
    "delg_r50_gldv2clean": _weights("r50delg_gldv2clean_20200914.tar.gz"),
    "delg_r101_gldv2clean": _weights("r101delg_gldv2clean_20200914.tar.gz"),
    "arcface_r101_gldv2clean": _weights("rn101_af_gldv2clean_20200814.tar.gz"),
}


def read_catalogue(path: str | os.PathLike[str]) -> dict[str, tuple[File, ...]]:
    """A catalogue of one's own, ``{name: [{"name", "urls", "sha256", "unpack", "convert"}, ...]}``.

    Raises:
      InputError: the file is missing or not of this form.
    """
    document = read_json(path)
    try:
        return {
            str(name): tuple(_file(entry, f"{path}, {name}") for entry in files) for name, files in document.items()
        }
    except (TypeError, AttributeError, KeyError) as error:
        raise InputError(f"{path} expects names with lists of files, each with name and urls: {error}.") from error


def _file(entry: Mapping[str, Any], where: str) -> File:
    check_name(str(entry["name"]), where)
    digest = entry.get("sha256")
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise InputError(f"{where} expects a sha256 of 64 hexadecimal digits. Received: {digest}")
    chosen = {}
    for key, choices in (("unpack", UNPACK), ("convert", CONVERT)):
        chosen[key] = entry.get(key)
        if chosen[key] not in (None, *choices):
            raise InputError(f"{where} expects {key} to be {' or '.join(choices)}. Received: {chosen[key]}")
    urls = entry["urls"]
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
        raise InputError(f"{where} expects a list of urls.")
    return File(str(entry["name"]), tuple(urls), digest, **chosen)


def listing(catalogue: Mapping[str, tuple[File, ...]]) -> list[str]:
    """Lines for the user: each name, its files, where they lie, and whether their hash is known."""
    lines = []
    for name, files in sorted(catalogue.items()):
        lines.append(name)
        for file in files:
            known = f"SHA-256 {file.sha256}" if file.sha256 else "no SHA-256 published; the first download prints it"
            lines.append(f"  {file.name}: {', '.join(file.urls)} ({known})")
    return lines
