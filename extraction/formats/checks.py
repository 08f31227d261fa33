"""Checks of features and of their settings, whatever format holds them, and the record that lies beside features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from delg.common.errors import InputError
from extraction.features import Features

ARRAYS = ("global_descriptor", "keypoints", "descriptors", "scores", "scales")
UNKNOWN = "unknown"  # start of the setting "extractor" of features that other programs made
# settings that may differ between queries and database
MAY_DIFFER = frozenset({"crop", "crop_border", "matching", "runtime", "truncated", "use_local_features"})
VERSIONS = ("package_version", "source_sha256", "opencv", "decoder")  # may differ, too; of the decoder not its name
WHEN_ABSENT = {"use_global_features": True}


def check(features: Features, place: Path) -> None:
    """Checks that the values of an image can be used.

    Args:
      features: of the image.
      place: the file or folder, for messages.

    Raises:
      InputError: values are not finite, a scale is not above 0, or a size is no whole number.
    """
    for key in ARRAYS:
        if not np.isfinite(getattr(features, key)).all():
            raise wrong(place, features.name, f"its {key} hold values that are not finite numbers")
    if len(features) and features.scales.min() <= 0:
        raise wrong(place, features.name, f"its scales hold {features.scales.min():g}; expected numbers above 0")
    if any(side < 0 or side != int(side) for side in features.image_size):
        raise wrong(place, features.name, f"its size is {features.image_size}; expected whole numbers")


def wrong(place: Path, name: str, what: str) -> InputError:
    """The error for an image whose features cannot be used."""
    return InputError(f"{place}: image {name!r}: {what}.")


def check_coordinates(settings: dict[str, Any]) -> None:
    """Checks that keypoints are in pixels of the photo, as everything but official files holds them.

    Args:
      settings: of an extractor or of features.

    Raises:
      InputError: keypoints are in pixels of the resized image.
    """
    if settings.get("use_resized_coordinates"):
        raise InputError(
            "use_resized_coordinates is for official files alone: a feature store, a search and a match need keypoints "
            "in pixels of the photo."
        )


def is_unknown(settings: Mapping[str, Any]) -> bool:
    """Whether features do not record how they were made."""
    return str(settings.get("extractor", UNKNOWN)).startswith(UNKNOWN)


def matching_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the reranker ``ransac`` that suit local features, as their extractor declares them.

    Args:
      settings: of features.

    Returns:
      See :class:`extraction.extractors.base.Extractor`; none of features that do not record any, for which the released
      values stand.
    """
    matching = settings.get("matching")
    return dict(matching) if isinstance(matching, Mapping) else {}


def recorded(document: Any, place: Path, kind: str) -> dict[str, Any]:
    """The record beside features: ``settings``, ``skipped`` and ``paths``; defaults for parts that are absent.

    Args:
      document: JSON values as read.
      place: the file, for messages.
      kind: of the files, in words.

    Raises:
      InputError: the document has another form.
    """
    defaults = {"settings": {"extractor": f"{UNKNOWN}, {kind} files"}, "skipped": [], "paths": {}}
    if not isinstance(document, dict):
        raise InputError(f"{place} is no record of features.")
    record = {key: document.get(key, value) for key, value in defaults.items()}
    skipped, paths = record["skipped"], record["paths"]
    well_formed = isinstance(record["settings"], dict) and isinstance(skipped, list) and isinstance(paths, dict)
    if not well_formed or not all(isinstance(entry, dict) and {"name", "reason"} <= entry.keys() for entry in skipped):
        raise InputError(f"{place} is no record of features.")
    if not all(isinstance(path, str) for path in paths.values()):
        raise InputError(f"{place} is no record of features.")
    return record


def differing(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """What differs between two settings, each as ``key (left and right)``; of parts as ``parts.global.key (...)``."""
    lines = []
    for key in sorted(left.keys() | right.keys()):
        one, other = (settings.get(key, WHEN_ABSENT.get(key, "absent")) for settings in (left, right))
        if isinstance(one, dict) and isinstance(other, dict):
            lines += [f"{key}.{line}" for line in differing(one, other)]
        elif one != other:
            lines.append(f"{key} ({one!r} and {other!r})")
    return lines


def other_features(place: Path, lines: Sequence[str]) -> InputError:
    """The error for a folder that holds features of other settings or images, as :func:`differing` lists them."""
    return InputError(
        f"{place} holds features of other settings or images, there and asked for: {'; '.join(lines)}; choose another "
        "folder or remove that one."
    )


def differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """What keeps features of two settings from being compared, each as ``key (left and right)``.

    The crop, the runtime and versions of packages may differ; of different extractors only the kinds are reported.
    The parts of composed extractors are compared likewise.
    """
    return differing(*_comparable(left, right))


def _comparable(left: dict[str, Any], right: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of two settings those that :func:`differences` compares."""
    left, right = _binding(left), _binding(right)
    if left.get("extractor") != right.get("extractor"):
        return {"extractor": left.get("extractor")}, {"extractor": right.get("extractor")}
    shared = parts_of(left).keys() & parts_of(right).keys()
    pairs = {name: _comparable(parts_of(left)[name], parts_of(right)[name]) for name in shared}
    if pairs:
        left, right = (
            one | {"parts": one["parts"] | {name: pair[i] for name, pair in pairs.items()}}
            for i, one in enumerate((left, right))
        )
    return left, right


def parts_of(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of the parts of a composed extractor, by name; empty for another extractor."""
    parts = settings.get("parts")
    return parts if isinstance(parts, dict) and all(isinstance(part, dict) for part in parts.values()) else {}


def version_differences(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Versions that both settings record and that differ, each as ``key (left and right)``."""
    shared = [key for key in VERSIONS if key in left and key in right]
    return differing(*({key: settings[key] for key in shared} for settings in (left, right)))


def _binding(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that have to agree; of the decoder the name without its version."""
    binding = {key: value for key, value in settings.items() if key not in {*MAY_DIFFER, *VERSIONS}}
    return binding | ({"decoder": str(settings["decoder"]).partition(" ")[0]} if "decoder" in settings else {})


def check_settings(left: dict[str, Any], right: dict[str, Any], what: str) -> None:
    """Checks that features of two settings may be compared, see :func:`differences`.

    Args:
      left: settings of an extractor or of features.
      right: the same.
      what: the two in words, which the message starts with.

    Raises:
      InputError: names each setting that differs; of different extractors, the kinds.
    """
    lines = differences(left, right)
    if lines:
        raise InputError(f"{what} were made with different settings and cannot be compared: {'; '.join(lines)}.")
