"""The image lists that a store was made of, one after the other: the first, and those that were appended later."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extraction.images import ImageRef

Contents = dict[str, Any]
"""Of a plan: ``images`` and ``fingerprint`` of the first list, and ``appended``, a list of the same for the others."""


def fingerprint(images: Sequence[ImageRef]) -> str:
    """SHA-256 over names, crops and file sizes: changes when the image list is another one."""
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


def batches(contents: Contents) -> list[Contents]:
    """``images`` and ``fingerprint`` of each list."""
    first = {key: contents[key] for key in ("images", "fingerprint")}
    return [first, *contents.get("appended", [])]


def well_formed(contents: Any) -> bool:
    """Whether the contents that a file holds have their form."""
    later = contents.get("appended", []) if isinstance(contents, dict) else None
    if not isinstance(later, list):
        return False
    return all(
        isinstance(one, dict) and type(one.get("images")) is int and "fingerprint" in one for one in (contents, *later)
    )


def with_batch(contents: Contents, batch: Contents) -> Contents:
    """The contents with a further list."""
    return contents | {"appended": [*contents.get("appended", []), batch]}


def shards_of(images: int, shard_size: int) -> int:
    """How many shards a list takes; the next list begins a new one."""
    return -(-images // shard_size)
