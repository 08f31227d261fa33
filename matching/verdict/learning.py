"""What a calibration is learned from: the user's own photos, with labels or without.

The queries that :func:`with_labels` and :func:`without_labels` give go to
:meth:`matching.verdict.calibration.Calibration.learn`.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from extraction.features import Features
from extraction.formats.base import FeatureSource
from matching.indexes.exact import search
from matching.verdict.calibration import Calibration, Judged
from matching.verdict.verification import TOP_K, Verifier

Image = NDArray[np.uint8]
Describe = Callable[[Image, str], Features]

MOST = 300  # photos that are queried with
BEYOND_DOUBT = 20.0  # surprise from which two photos show the same thing
MOST_DUPLICATES = 5
LEAST_CHANGED = 0.9  # quantile of the similarities of copies to their originals
LEAST = 32  # pixels of a side of a copy


def spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` rows, spread over all."""
    return [int(row) for row in np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))]


def with_labels(
    database: FeatureSource,
    labels: Sequence[Hashable],
    calibration: Calibration,
    *,
    rows: Iterable[int] | None = None,
    top_k: int = TOP_K,
    threads: int | None = None,
) -> Iterator[Judged]:
    """Photos of the collection as queries: against all others, and against those of other labels.

    Args:
      database: the features of the collection.
      labels: of its photos; photos of one label show the same thing.
      calibration: its ``matching`` is used, and its ``heads``; its weights are not.
      rows: of the photos that are queries; None for up to 300, spread over all.
      top_k: number of verified candidates.
      threads: see :class:`matching.verdict.verification.Verifier`.

    Raises:
      InputError: there is not a label for each photo, or the features cannot be compared.
    """
    if len(labels) != len(database):
        raise InputError(f"Expected a label for each of {len(database)} photos. Received: {len(labels)}")
    places = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    classes = np.array([places[label] for label in labels])
    verifier = Verifier(database, calibration, top_k=top_k, threads=threads)
    for row in spread(len(database), MOST) if rows is None else rows:
        query, order = database.features(row), _order(database, row)
        others = order[order != row]
        yield from judged_both_ways(verifier, query, others, classes[others] == classes[row])


def judged_both_ways(
    verifier: Verifier, query: Features, rows: NDArray[np.int64], same: NDArray[np.bool_]
) -> Iterator[Judged]:
    """A query with its true photos in the database, where it has any, and without them.

    Args:
      verifier: of the database.
      query: its features.
      rows: of the database, best first.
      same: which of them show the same thing.

    Yields:
      The candidates with the true photos, if one of the first ones is true; then the candidates without true photos.
    """
    first, absent = rows[: verifier.top_k], rows[~same][: verifier.top_k]
    verified = dict(zip(first.tolist(), verifier(query, first).candidates))
    missing = np.array([row for row in absent if row not in verified], np.int64)
    verified |= zip(missing.tolist(), verifier(query, missing).candidates)
    true = dict(zip(rows.tolist(), same.tolist()))
    for places in ([first] if any(true[row] for row in first.tolist()) else []) + [absent]:
        evidence = tuple(verified[row].evidence for row in places.tolist())
        if evidence:
            yield Judged(evidence, tuple(bool(true[row]) for row in places.tolist()))


def without_labels(
    photos: Iterable[tuple[int, Image]],
    describe: Describe,
    database: FeatureSource,
    calibration: Calibration,
    *,
    top_k: int = TOP_K,
    seed: int = 0,
    threads: int | None = None,
) -> Iterator[Judged]:
    """Changed copies of the user's photos as queries: against the whole collection, and without the original.

    A copy is warped, cropped, lit anew, blurred and compressed; it shows the same as its original. For different things
    the copy is mirrored: local features of a mirrored photo agree with others as those of unrelated photos do, also
    where other photos show the same thing and nobody has said so. Left out are the original, up to 5 near-duplicates,
    which are as similar to the original as the least changed tenth of the copies, and photos that the copy itself
    agrees with beyond doubt. All copies are described first; 300 of them with 1,000 local features take 300 MB.

    Args:
      photos: rows of the database and their pixels, ``(H, W, 3)`` uint8 RGB.
      describe: gives the features of pixels, by the extractor that made the database.
      database: the features of the collection.
      calibration: see :func:`with_labels`.
      top_k: number of verified candidates.
      seed: of the changes.
      threads: see :class:`matching.verdict.verification.Verifier`.

    Raises:
      InputError: the features cannot be compared.
    """
    verifier = Verifier(database, calibration, top_k=top_k, threads=threads)
    copies = []
    for row, image in photos:
        copy = changed(image, np.random.default_rng([seed, row]))
        name = database.names[row]
        copies.append((row, describe(copy, name), describe(np.ascontiguousarray(copy[:, ::-1]), name)))
    descriptors = database.global_descriptors
    compared = [(descriptors[row], copy.global_descriptor) for row, copy, _ in copies if copy.global_descriptor.size]
    alike = [float(original @ copied) for original, copied in compared]
    duplicate = float(np.quantile(alike, LEAST_CHANGED)) if alike else np.inf
    for row, same, mirrored in copies:
        nearest = _order(database, row)[: MOST_DUPLICATES + 1] if alike else np.zeros(0, np.int64)
        left_out = {row, *(other for other in nearest.tolist() if descriptors[other] @ descriptors[row] >= duplicate)}
        order = _order(database, row, mirrored)
        others = order[~np.isin(order, list(left_out))][:top_k]
        sure = [candidate.evidence.surprise >= BEYOND_DOUBT for candidate in verifier(same, others).candidates]
        different = tuple(one.evidence for one in verifier(mirrored, others[~np.array(sure, bool)]).candidates)
        if not different:
            continue
        yield Judged(different, (False,) * len(different))
        if not alike or row in _order(database, row, same)[:top_k]:
            (own,) = verifier(same, np.array([row], np.int64)).candidates
            yield Judged((own.evidence, *different[: top_k - 1]), (True, *(False for _ in different[: top_k - 1])))


def _order(database: FeatureSource, row: int, query: Features | None = None) -> NDArray[np.int64]:
    """Rows by similarity to a photo or to another query, best first; as they are without global descriptors."""
    descriptors = database.global_descriptors
    if not descriptors.shape[1]:
        return np.arange(len(database))
    wanted = descriptors[row] if query is None else query.global_descriptor
    return search(np.asarray(wanted, np.float32)[None], descriptors, len(database)).row(0)


def changed(image: Image, rng: np.random.Generator) -> Image:
    """A copy as another photo of the same thing might be: from another side, nearer, in other light, less sharp.

    Args:
      image: ``(H, W, 3)`` uint8 RGB.
      rng: decides by how much.

    Returns:
      ``(h, w, 3)`` uint8 RGB.
    """
    height, width = image.shape[:2]
    share = rng.uniform(0.4, 1.0)  # of the sides
    zoom = rng.uniform(0.4, 1.0)  # of the resolution
    out = max(round(width * share * zoom), LEAST), max(round(height * share * zoom), LEAST)
    left, top = rng.uniform(0, 1 - share, 2) * (width, height)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * (width * share, height * share) + (left, top)
    centre, angle = corners.mean(0), np.deg2rad(rng.normal(0, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (corners - centre) @ turn.T + centre
    corners += rng.normal(0, 0.08 * share, (4, 2)) * (width, height)
    target = np.array([[0, 0], [out[0], 0], [out[0], out[1]], [0, out[1]]], np.float32)
    warp = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    copy = cv2.warpPerspective(image, warp, out, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    light = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.4)) * 255 * rng.uniform(0.7, 1.2) + rng.normal(0, 12)
    copy = cv2.LUT(copy, np.clip(np.rint(light), 0, 255).astype(np.uint8))
    copy = cv2.GaussianBlur(copy, (0, 0), sigmaX=rng.uniform(0.2, 1.6))
    _, encoded = cv2.imencode(".jpg", copy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 91))])
    decoded: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)
