"""The settings that every extractor records in the store."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from delg.common.distribution import __version__
from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.sources import source_sha256
from extraction.extractors.base import Extractor
from extraction.images import DECODER, OWN, Reading

WRITERS = ("extraction.formats.official_writer", "extraction.pipeline")
UNKNOWN = "unknown"  # how the setting "extractor" starts of features that other programs made


def is_unknown(settings: Mapping[str, Any]) -> bool:
    """Whether features do not record how they were made."""
    return str(settings.get("extractor", UNKNOWN)).startswith(UNKNOWN)


def common_settings(extractor: str, **others: Any) -> dict[str, Any]:
    """Settings of one extractor, completed by what all of them share.

    Args:
      extractor: its kind.
      **others: what its features depend on besides, as JSON values; this includes ``weights_sha256`` where it has
        weights.
    """
    return {"extractor": extractor, **others, "decoder": DECODER, **OWN.settings(), "package_version": __version__}


def recorded_settings(extractor: Extractor) -> dict[str, Any]:
    """The settings of an extractor, and ``source_sha256`` of the code that describes and writes, plug-ins included."""
    return extractor.settings | {"source_sha256": source_sha256(*extractor.makers(), *WRITERS)}


def set_reading(extractor: Extractor, **choices: str | None) -> Extractor:
    """Says how an extractor reads images, where that is not as :data:`extraction.images.OWN`.

    Args:
      extractor: as it is built; its settings change.
      **choices: ``exif``, ``truncated`` and ``crop_border``, see :class:`extraction.images.Reading`; None for its own.

    Returns:
      The extractor.

    Raises:
      InputError: a value is no choice.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    extractor.settings = extractor.settings | replace(Reading.of(extractor.settings), **given).settings()
    return extractor


def check_limits(max_image_size: int, max_feature_num: int, min_image_size: int = -1) -> None:
    """Checks the limits that extractors have.

    Raises:
      InputError: one is not a whole number, or out of range, or no size lies between the two of the image.
    """
    for name, side in (("max_image_size", max_image_size), ("min_image_size", min_image_size)):
        if type(side) is not int or (side < 1 and side != -1):
            raise InputError(f"{name} expects 1 or more, or -1 for no limit. Received: {side!r}")
    if 0 < max_image_size < min_image_size:
        raise InputError(f"min_image_size {min_image_size} is above max_image_size {max_image_size}.")
    if type(max_feature_num) is not int or max_feature_num < 1:
        raise InputError(f"max_feature_num expects 1 or more. Received: {max_feature_num!r}")


def model_digest(config: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of the part of a model's configuration that its features depend on.

    Args:
      config: JSON values; left out are ``extraction``, which the store records as it was used, and what only the
        classifiers know.
    """
    left_out = ("extraction", "num_classes", "classifier", "sampled_classifier")
    part = {key: value for key, value in config.items() if key not in left_out}
    return json_sha256(part)
