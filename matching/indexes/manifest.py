"""The record of an index: how the index was made, and from which features."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np

from delg.common.errors import InputError
from extraction.formats.base import FeatureSource

FORMAT, VERSION = "delg index", 1
SAMPLE = 4096  # descriptors of a store that enter its fingerprint


@dataclass(frozen=True)
class Manifest:
    """The record of an index.

    Attributes:
      index: kind and all settings, as text.
      count: number of descriptors ``N``.
      dimension: ``D`` of a descriptor.
      store: fingerprint of the features, see :func:`fingerprint`.
      settings: how the features were made.
      files: bytes of each file of the index.
      digests: of each file, see :func:`delg.common.files.sampled_sha256`.
      seconds: duration of the build, in the run that finished.
      source_sha256: of the code that built it, see :mod:`delg.common.sources`.
    """

    index: str
    count: int
    dimension: int
    store: str
    settings: dict[str, Any]
    files: dict[str, int]
    seconds: float = 0.0
    digests: dict[str, str] = field(default_factory=dict)
    source_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Any, place: str) -> Self:
        """Reads :meth:`to_json`'s document.

        Raises:
          InputError: the document is not such a record, or of another version; the sentence names ``place``.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f"{place} is not an index; delg-index makes one.")
        if document.get("version") != VERSION:
            raise InputError(f"The index {place} has format version {document.get('version')}; expected {VERSION}.")
        values = {entry.name: document[entry.name] for entry in fields(cls) if entry.name in document}
        missing = {e.name for e in fields(cls) if e.default is e.default_factory is MISSING} - values.keys()
        if missing:
            raise InputError(f"The index {place} is damaged: its manifest misses {', '.join(sorted(missing))}.")
        wrong = [name for name, value in values.items() if not _fits(name, value)]
        if wrong:
            raise InputError(f"The index {place} is damaged: its manifest has {wrong[0]}={values[wrong[0]]!r}.")
        return cls(**values)

    def check_same(self, other: Self, place: str) -> None:
        """Checks that the index at a place equals another one.

        Args:
          other: the record of the other index.
          place: the folder or address of this index.

        Raises:
          InputError: kind, settings, features or code differ.
        """
        if self.store != other.store:
            raise InputError(f"{place} holds an index of other features; choose another place, or remove that index.")
        if self.index != other.index:
            raise InputError(
                f"{place} holds an index {self.index}, not {other.index}; choose another place, or remove that index."
            )
        if self.source_sha256 != other.source_sha256:
            raise InputError(f"{place} holds an index that other code has built; remove it, or choose another place.")


def _fits(name: str, value: Any) -> bool:
    """Whether a field of the record can have a value."""
    if name in ("count", "dimension"):
        return isinstance(value, int) and value > 0
    if name in ("index", "store", "source_sha256"):
        return isinstance(value, str)
    if name == "seconds":
        return isinstance(value, int | float)
    kinds = {"files": int, "digests": str}
    return isinstance(value, dict) and all(isinstance(entry, kinds.get(name, object)) for entry in value.values())


def fingerprint(store: FeatureSource) -> str:
    """SHA-256 of the names, the settings and the global descriptors of a store.

    Of more than 4096 images, 4096 descriptors at even distances enter.
    """
    matrix = store.global_descriptors
    digest = hashlib.sha256(json.dumps([store.names, store.settings, matrix.shape], sort_keys=True).encode())
    rows = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), SAMPLE)).astype(np.int64))
    digest.update(np.ascontiguousarray(matrix[rows], np.float32).tobytes())
    return digest.hexdigest()
