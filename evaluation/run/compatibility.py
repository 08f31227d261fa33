"""Compares the protocols that features record: queries with database, and features with the benchmark.

:func:`extraction.formats.checks.differences` says which settings of queries and database have to agree. A benchmark
expects its own crop. A benchmark of others' photos also expects photos as they are stored, because its boxes are in
pixels of the stored photo. :mod:`evaluation.run.published_protocol` says what a published model expects.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method
from extraction.formats.base import FeatureSource
from extraction.formats.checks import differences, is_unknown, version_differences
from extraction.images import EXIF, ImageRef


def check(mismatches: Sequence[str], allowed: bool) -> None:
    """Ends the run where protocols differ, unless the user allows a mismatch.

    Args:
      mismatches: the differences, a sentence each.
      allowed: whether the run goes on nevertheless.

    Raises:
      InputError: the first sentence, and the flag that allows it.
    """
    if mismatches and not allowed:
        raise InputError(f"{mismatches[0]} --allow_protocol_mismatch runs it nevertheless, and says so in the report.")


def between(stores: Sequence[FeatureSource]) -> list[str]:
    """The differences between stores that are searched together, a sentence for each pair of neighbouring stores.

    Raises:
      InputError: the shapes of two stores' descriptors differ.
    """
    sentences = []
    for first, second in pairwise(stores):
        first.check_shapes(second)
        lines = differences(first.settings, second.settings)
        if lines:
            sentences.append(f"{_names(first, second)} were made with different settings: {'; '.join(lines)}.")
    return sentences


def versions_between(stores: Sequence[FeatureSource]) -> list[str]:
    """The package versions that differ between stores; they are recorded in the report and never end a run."""
    return [
        f"{_names(first, second)} were made with different versions: {'; '.join(lines)}."
        for first, second in pairwise(stores)
        if (lines := version_differences(first.settings, second.settings))
    ]


def _names(first: FeatureSource, second: FeatureSource) -> str:
    return f"The feature stores {first.folder} and {second.folder}"


def with_benchmark(benchmark: Benchmark, method: Method) -> list[str]:
    """The differences between recorded settings and the benchmark's protocol, a sentence each.

    Files of other programs record no settings, see :func:`unrecorded`.
    """
    sentences = []
    roles: list[tuple[str, FeatureSource, Sequence[ImageRef]]] = [
        ("query", method.queries, benchmark.queries),
        ("database", method.database, benchmark.database),
    ]
    if method.distractors is not None:
        roles.append(("distractor", method.distractors, []))
    for role, store, images in roles:
        if is_unknown(store.settings):
            continue
        expected, recorded = any(image.crop is not None for image in images), bool(store.settings.get("crop", False))
        if recorded != expected:
            state = "cropped to their boxes" if expected else "whole photos"
            sentences.append(_sentence(benchmark, f"{role} images to be {state}", store, f"crop={recorded}"))
        policy = store.settings.get("exif", EXIF["ignore"])
        if policy != EXIF["ignore"] and not benchmark.own_photos:
            wish = f"{role} images as they are stored (exif={EXIF['ignore']!r})"
            sentences.append(_sentence(benchmark, wish, store, f"exif={policy!r}"))
    return sentences


def unrecorded(stores: Sequence[FeatureSource]) -> list[str]:
    """A sentence for each store that does not record its settings, so that its protocol cannot be compared."""
    return [
        f"{store.folder} does not record how its features were made, so that their protocol is not checked."
        for store in dict.fromkeys(stores)
        if is_unknown(store.settings)
    ]


def noted(method: Method) -> dict[str, Any]:
    """Further settings of a method's features for the report: query and distractor settings, where they differ."""
    notes: dict[str, Any] = {"query_features": _other(method, method.queries, "crop")}
    if method.distractors is not None:
        notes["distractor_features"] = _other(method, method.distractors)
    notes |= {"protocol_unknown": unrecorded(method.stores), "version_differences": versions_between(method.stores)}
    return {key: value for key, value in notes.items() if value}


def _other(method: Method, store: FeatureSource, *apart: str) -> dict[str, Any]:
    """The settings of a store that differ from the settings of the method's database."""
    database_settings = method.database.settings
    return {
        key: value for key, value in store.settings.items() if key not in apart and database_settings.get(key) != value
    }


def _sentence(benchmark: Benchmark, wish: str, store: FeatureSource, recorded: str) -> str:
    return f"The benchmark {benchmark.name} expects {wish}; the feature store {store.folder} records {recorded}."
