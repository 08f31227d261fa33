"""The protocol that features record, compared: queries with database, both with the benchmark and with what is claimed.

What has to agree, and what may differ, between queries and database: see :func:`extraction.store.differences`. A
benchmark asks for its crop, and for boxes in pixels of the photo as it is stored. A claim to be a published model asks
for that model's scales and image size.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from evaluation.benchmarks.base import Benchmark
from evaluation.published import protocol_of
from evaluation.runner import Method
from extraction.images import EXIF_POLICY, ImageRef
from extraction.official import UNKNOWN
from extraction.store import FeatureStore, differences, version_differences
from protos.errors import InputError

ROUNDING = 1e-3  # between scales of one protocol, as different programs write them


def check(found: Sequence[str], allowed: bool) -> None:
    """Ends the run where a protocol is another one, unless that is allowed.

    Args:
      found: what differs, in sentences.
      allowed: run nevertheless.

    Raises:
      InputError: the first sentence, and the flag that allows it.
    """
    if found and not allowed:
        raise InputError(f"{found[0]} --allow_protocol_mismatch runs it nevertheless, and says so in the report.")


def between(stores: Sequence[FeatureStore]) -> list[str]:
    """What differs between stores that are searched together, a sentence for each pair of neighbours.

    Raises:
      InputError: arithmetic between them is not possible at all.
    """
    found = []
    for one, other in pairwise(stores):
        one.check_shapes(other)
        lines = differences(one.settings, other.settings)
        if lines:
            found.append(f"{_names(one, other)} were made with different settings: {'; '.join(lines)}.")
    return found


def versions_between(stores: Sequence[FeatureStore]) -> list[str]:
    """Versions of packages that differ between stores; for the record, no reason to refuse."""
    return [
        f"{_names(one, other)} were made with different versions: {'; '.join(lines)}."
        for one, other in pairwise(stores)
        if (lines := version_differences(one.settings, other.settings))
    ]


def _names(one: FeatureStore, other: FeatureStore) -> str:
    return f"The feature stores {one.folder} and {other.folder}"


def with_benchmark(benchmark: Benchmark, method: Method) -> list[str]:
    """What the features do not share with what the benchmark asks for, a sentence each.

    Of files of other programs nothing is known.
    """
    found = []
    pairs: tuple[tuple[str, FeatureStore, list[ImageRef]], ...] = (
        ("query", method.queries, benchmark.queries),
        ("database", method.database, benchmark.database),
    )
    for role, store, images in pairs:
        if store.settings["extractor"] == UNKNOWN:
            continue
        wanted, recorded = any(image.crop is not None for image in images), bool(store.settings.get("crop", False))
        if recorded != wanted:
            state = "cropped to their boxes" if wanted else "whole photos"
            found.append(_sentence(benchmark, f"{role} images to be {state}", store, f"crop={recorded}"))
        policy = store.settings.get("exif", EXIF_POLICY)
        if policy != EXIF_POLICY:
            wish = f"{role} images as they are stored (exif={EXIF_POLICY!r})"
            found.append(_sentence(benchmark, wish, store, f"exif={policy!r}"))
    return found


def _sentence(benchmark: Benchmark, wish: str, store: FeatureStore, recorded: str) -> str:
    return f"The benchmark {benchmark.name} expects {wish}; the feature store {store.folder} records {recorded}."


def with_published(model: str | None, features: Mapping[str, dict[str, Any]]) -> list[str]:
    """What features do not share with the protocol of the published model that they are meant to be of.

    Args:
      model: a name of :data:`evaluation.published.MODELS`, or None.
      features: their settings, by where they are from, in words; what these do not record is passed over.

    Returns:
      A sentence for each that differs.
    """
    wanted, found = protocol_of(model), []
    for where, settings in features.items():
        recorded = _summary(settings)
        lines = [
            f"{key}={value!r} ({where} has {recorded[key]!r})"
            for key, value in wanted.items()
            if key in recorded and not _equal(value, recorded[key])
        ]
        if lines:
            found.append(f"The published {model} was run with {'; '.join(lines)}.")
    return found


def _summary(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the scales of the global descriptor by their values."""
    scales, chosen = settings.get("image_scales"), settings.get("global_scales_ind")
    if not scales or not chosen:
        return settings
    return settings | {"global_scales": [scales[i] for i in chosen]}


def _equal(wanted: Any, recorded: Any) -> bool:
    if isinstance(wanted, list) and isinstance(recorded, list) and len(wanted) == len(recorded):
        return all(abs(one - other) < ROUNDING for one, other in zip(wanted, recorded))
    return bool(wanted == recorded)
