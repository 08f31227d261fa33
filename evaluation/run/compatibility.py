"""The protocol that features record, compared: queries with database, both with the benchmark and with what is claimed.

What has to agree, and what may differ, between queries and database: see :func:`extraction.formats.checks.differences`.
A benchmark asks for its crop, and unless it is of your own photos, for boxes in pixels of the photo as it is stored.
What a claim to be a published model asks for: see :mod:`evaluation.run.published_protocol`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from delg.common.errors import InputError
from evaluation.benchmarks.base import Benchmark
from evaluation.run.method import Method
from extraction.formats.base import FeatureSource
from extraction.formats.checks import differences, is_unknown, version_differences
from extraction.images import EXIF, ImageRef


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


def between(stores: Sequence[FeatureSource]) -> list[str]:
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


def versions_between(stores: Sequence[FeatureSource]) -> list[str]:
    """Versions of packages that differ between stores; for the record, no reason to refuse."""
    return [
        f"{_names(one, other)} were made with different versions: {'; '.join(lines)}."
        for one, other in pairwise(stores)
        if (lines := version_differences(one.settings, other.settings))
    ]


def _names(one: FeatureSource, other: FeatureSource) -> str:
    return f"The feature stores {one.folder} and {other.folder}"


def with_benchmark(benchmark: Benchmark, method: Method) -> list[str]:
    """What the features do not share with what the benchmark asks for, a sentence each.

    Of files of other programs nothing is known, see :func:`unrecorded`.
    """
    found = []
    roles: list[tuple[str, FeatureSource, Sequence[ImageRef]]] = [
        ("query", method.queries, benchmark.queries),
        ("database", method.database, benchmark.database),
    ]
    if method.distractors is not None:
        roles.append(("distractor", method.distractors, []))
    for role, store, images in roles:
        if is_unknown(store.settings):
            continue
        wanted, recorded = any(image.crop is not None for image in images), bool(store.settings.get("crop", False))
        if recorded != wanted:
            state = "cropped to their boxes" if wanted else "whole photos"
            found.append(_sentence(benchmark, f"{role} images to be {state}", store, f"crop={recorded}"))
        policy = store.settings.get("exif", EXIF["ignore"])
        if policy != EXIF["ignore"] and not benchmark.own_photos:
            wish = f"{role} images as they are stored (exif={EXIF['ignore']!r})"
            found.append(_sentence(benchmark, wish, store, f"exif={policy!r}"))
    return found


def unrecorded(stores: Sequence[FeatureSource]) -> list[str]:
    """A sentence for each store that does not hold how its features were made, so that nothing of it was compared."""
    return [
        f"{store.folder} does not record how its features were made, so that their protocol is not checked."
        for store in dict.fromkeys(stores)
        if is_unknown(store.settings)
    ]


def noted(method: Method) -> dict[str, Any]:
    """What else is recorded of a method's features in a report: of queries and distractors where they are others."""
    found: dict[str, Any] = {"query_features": _other(method, method.queries, "crop")}
    if method.distractors is not None:
        found["distractor_features"] = _other(method, method.distractors)
    found |= {"protocol_unknown": unrecorded(method.stores), "version_differences": versions_between(method.stores)}
    return {key: value for key, value in found.items() if value}


def _other(method: Method, store: FeatureSource, *apart: str) -> dict[str, Any]:
    """Settings of a store where they are not those of the method's database."""
    known = method.database.settings
    return {key: value for key, value in store.settings.items() if key not in apart and known.get(key) != value}


def _sentence(benchmark: Benchmark, wish: str, store: FeatureSource, recorded: str) -> str:
    return f"The benchmark {benchmark.name} expects {wish}; the feature store {store.folder} records {recorded}."
