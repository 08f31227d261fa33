"""The settings that extractors record, and the settings of reading images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from delg.common.distribution import __version__
from delg.common.files import json_sha256
from delg.common.sources import source_sha256
from extraction.extractors.base import Extractor
from extraction.images import DECODER, OWN, Reading

WRITERS = ("extraction.formats.official_writer", "extraction.pipeline")


def common_settings(extractor: str, **others: Any) -> dict[str, Any]:
    """Settings of an extractor, completed by the settings that all extractors share.

    Args:
      extractor: its kind.
      **others: everything else that its features depend on, as JSON values, such as ``weights_sha256``.
    """
    return {"extractor": extractor, **others, "decoder": DECODER, **OWN.settings(), "package_version": __version__}


def recorded_settings(extractor: Extractor) -> dict[str, Any]:
    """The settings of an extractor, its ``matching`` where it declares one, and ``source_sha256``.

    The latter is of the code that describes and writes, plug-ins included.
    """
    matching = {"matching": dict(extractor.matching)} if extractor.matching and "local" in extractor.heads else {}
    return extractor.settings | matching | {"source_sha256": source_sha256(*extractor.makers(), *WRITERS)}


def set_reading(extractor: Extractor, **choices: str | None) -> Extractor:
    """Sets how images are read for an extractor.

    Args:
      extractor: its settings change.
      **choices: ``exif``, ``truncated`` and ``crop_border``, see :class:`extraction.images.Reading`; None leaves one.

    Returns:
      The extractor.

    Raises:
      InputError: an unknown choice.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    extractor.settings = extractor.settings | replace(Reading.of(extractor.settings), **given).settings()
    return extractor


def model_digest(config: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of the part of a model's configuration that its features depend on.

    Args:
      config: JSON values; ``extraction``, whose used values a store records, and the classifiers are left out.
    """
    left_out = ("extraction", "num_classes", "classifier", "sampled_classifier")
    return json_sha256({key: value for key, value in config.items() if key not in left_out})
