"""The catalogue of ``delg-fetch``: addresses of files by name, published hashes, and rules of unpacking."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from delg.common.errors import InputError
from delg.common.files import read_json
from evaluation.data.check import KNOWN, LIST
from extraction.formats.official import check_name

REVISITOP = "http://cmp.felk.cvut.cz/revisitop/data/datasets"
OXFORD = ("https://thor.robots.ox.ac.uk", "https://www.robots.ox.ac.uk/~vgg/data")
DELF = "https://storage.googleapis.com/delf"
R1M = "http://ptak.felk.cvut.cz/revisitop/revisitop1m"  # as the released download.m and download.py of revisitop
GLDV2 = "https://s3.amazonaws.com/google-landmark"  # README of cvdfoundation/google-landmark
AMES = "http://ptak.felk.cvut.cz/personal/sumapave/public/ames/networks"  # a copy; the authors' is on a file host
KERAS_RESNETS = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"  # as keras.applications has it
SQUEEZENET = "https://github.com/rcmalli/keras-squeezenet/releases/download/v1.0"  # MIT, version 1.1 of the network
IMAGENET = "_weights_tf_dim_ordering_tf_kernels_notop.h5"  # for delg-train --imagenet_checkpoint
INSTRE = {  # two addresses of two owners: the photos, and the split of Iscen et al.
    "INSTRE_release.rar": "http://123.57.42.89/Dataset_ict/INSTRE/INSTRE_release.rar",
    "test_script.zip": "https://cmp.felk.cvut.cz/~iscenahm/files/test_script.zip",
}


@dataclass(frozen=True)
class File:
    """A file of the catalogue.

    Attributes:
      name: path below the output folder.
      urls: address of the file, then mirrors.
      sha256: published SHA-256; None where no hash is published, and the hash of the first download is recorded.
      unpack: ``"jpg"`` puts the images of the archive, whatever their folders, into the folder ``jpg`` beside the
        archive; ``"tree"`` unpacks the archive unchanged beside itself; None does not unpack.
      convert: conversion after unpacking: ``"ground_truth"`` (checked, and written as JSON beside the file) or
        ``"model"`` (the model folder ``model``; delg-convert recognises the format); None for no conversion.
      md5_urls: addresses of a line with the MD5, as md5sum writes it; read where no SHA-256 is known.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None
    unpack: str | None = None
    convert: str | None = None
    md5_urls: tuple[str, ...] = ()


UNPACK, CONVERT = ("jpg", "tree"), ("ground_truth", "model")


def _revisited(name: str, place: str, *archives: str) -> tuple[File, ...]:
    gnd = f"gnd_{name}.pkl"
    truth = File(gnd, (f"{REVISITOP}/{name}/{gnd}",), KNOWN[gnd], convert="ground_truth")
    return truth, *(File(a, tuple(f"{base}/{place}/{a}" for base in OXFORD), unpack="jpg") for a in archives)


def _weights(archive: str) -> tuple[File, ...]:
    return (File(archive, (f"{DELF}/{archive}",), unpack="tree", convert="model"),)


def _imagenet(network: str, place: str, sha256: str | None = None) -> File:
    return File(f"{network}{IMAGENET}", (f"{place}/{network}{IMAGENET}",), sha256)


def _gldv2(split: str, archives: int) -> tuple[File, ...]:
    """The archives of a split, for the folder of the split's name; their images are ``0/1/2/ID.jpg``."""
    names = [f"images_{i:03d}" for i in range(archives)]
    return tuple(
        File(
            f"{split}/{name}.tar",
            (f"{GLDV2}/{split}/{name}.tar",),
            unpack="tree",
            md5_urls=(f"{GLDV2}/md5sum/{split}/md5.{name}.txt",),
        )
        for name in names
    )


def _gldv2_lists() -> tuple[File, ...]:
    solutions = [f"ground_truth/{task}_solution_v2.1.csv" for task in ("retrieval", "recognition")]
    places = (*solutions, "metadata/train.csv", "metadata/train_clean.csv")
    return tuple(File(place.partition("/")[2], (f"{GLDV2}/{place}",)) for place in places)


def _distractors() -> tuple[File, ...]:
    names = [f"revisitop1m.{i}.tar.gz" for i in range(1, 101)]
    archives = [File(f"jpg/{name}", (f"{R1M}/jpg/{name}",), unpack="tree") for name in names]
    return File(LIST, (f"{R1M}/{LIST}",)), *archives


CATALOGUE: dict[str, tuple[File, ...]] = {
    "roxford5k": _revisited("roxford5k", "oxbuildings", "oxbuild_images-v1.tgz"),
    "rparis6k": _revisited("rparis6k", "parisbuildings", "paris_1-v1.tgz", "paris_2-v1.tgz"),
    "revisitop1m": _distractors(),
    "gldv2_lists": _gldv2_lists(),
    "gldv2_test": _gldv2("test", 20),
    "gldv2_index": _gldv2("index", 100),
    "gldv2_train": _gldv2("train", 500),
    "instre": tuple(File(name, (url,)) for name, url in INSTRE.items()),
    "delg_r50_gldv1": _weights("r50delg_gld_20200814.tar.gz"),
    "delg_r101_gldv1": _weights("r101delg_gld_20200814.tar.gz"),
    "delg_r50_gldv2clean": _weights("r50delg_gldv2clean_20200914.tar.gz"),
    "delg_r101_gldv2clean": _weights("r101delg_gldv2clean_20200914.tar.gz"),
    "cvnet_r50": (File("CVPR2022_CVNet_R50.pyth", (f"{AMES}/CVPR2022_CVNet_R50.pyth",), convert="model"),),
    "resnet50_imagenet": (_imagenet("resnet50", KERAS_RESNETS),),
    "resnet101_imagenet": (_imagenet("resnet101", KERAS_RESNETS),),
    "squeezenet_imagenet": (
        _imagenet("squeezenet", SQUEEZENET, "17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da"),
    ),
    "arcface_r101_gldv2clean": _weights("rn101_af_gldv2clean_20200814.tar.gz"),
}


def read_catalogue(path: str | os.PathLike[str]) -> dict[str, tuple[File, ...]]:
    """Reads a user's catalogue, ``{name: [{"name", "urls", "sha256", "unpack", "convert", "md5_urls"}, ...]}``.

    Raises:
      InputError: the file is missing or malformed.
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
    steps = {}
    for key, choices in (("unpack", UNPACK), ("convert", CONVERT)):
        steps[key] = entry.get(key)
        if steps[key] not in (None, *choices):
            raise InputError(f"{where} expects {key} to be {' or '.join(choices)}. Received: {steps[key]}")
    urls, sums = entry["urls"], entry.get("md5_urls", [])
    for key, addresses in (("urls", urls), ("md5_urls", sums)):
        if not isinstance(addresses, list) or not all(isinstance(url, str) for url in addresses):
            raise InputError(f"{where} expects a list of {key}.")
    if not urls:
        raise InputError(f"{where} expects a list of urls.")
    return File(str(entry["name"]), tuple(urls), digest, **steps, md5_urls=tuple(sums))


def listing(catalogue: Mapping[str, tuple[File, ...]]) -> list[str]:
    """Lines for the user: names, their files, addresses, and known hashes.

    Of files that differ only by a number the first is listed, with the name of the last.
    """
    lines = []
    for name, files in sorted(catalogue.items()):
        lines.append(name)
        for _, group in groupby(files, key=lambda file: (re.sub(r"\d+", "0", file.name), file.sha256)):
            first, *further = group
            summary = f", and {len(further)} more up to {further[-1].name}" if further else ""
            lines.append(f"  {first.name}: {', '.join(first.urls)} ({_hash_text(first)}){summary}")
    return lines


def _hash_text(file: File) -> str:
    if file.sha256:
        return f"SHA-256 {file.sha256}"
    if file.md5_urls:
        return f"MD5 in {', '.join(file.md5_urls)}"
    return "no SHA-256 published; the first download prints it"
