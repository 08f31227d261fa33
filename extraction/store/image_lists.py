"""The image lists of a store in their order: the first, and the lists that were appended."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extraction.images import ImageRef

Contents = dict[str, Any]
"""Part of a plan: ``images`` and ``fingerprint`` of the first list, and in ``appended`` of each further list."""


def fingerprint(images: Sequence[ImageRef]) -> str:
    """SHA-256 over names, crops and file sizes, which changes with the image list."""
    digest = hashlib.sha256()
    for ref in images:
        try:
            size = Path(ref.path).stat().st_size if ref.path else -1  # a converted image has no file
        except OSError:
            size = -1
        crop = None if ref.crop is None else [float(side) for side in ref.crop]
        digest.update(json.dumps([ref.name, crop, size]).encode() + b"\n")
    return digest.hexdigest()


def contents_of(images: Sequence[ImageRef]) -> Contents:
    """The contents of a store of one list."""
    return {"images": len(images), "fingerprint": fingerprint(images)}


def image_lists(contents: Contents) -> list[Contents]:
    """``images`` and ``fingerprint`` of each list."""
    first = {key: contents[key] for key in ("images", "fingerprint")}
    return [first, *contents.get("appended", [])]


def well_formed(contents: Any) -> bool:
    """Whether the contents of a file are well-formed."""
    appended = contents.get("appended", []) if isinstance(contents, dict) else None
    return isinstance(appended, list) and all(
        isinstance(one, dict) and type(one.get("images")) is int and "fingerprint" in one
        for one in (contents, *appended)
    )


def with_list(contents: Contents, further: Contents) -> Contents:
    """The contents with a further list."""
    return contents | {"appended": [*contents.get("appended", []), further]}


def shards_of(images: int, shard_size: int) -> int:
    """The number of shards of a list; the next list begins a new shard."""
    return -(-images // shard_size)
