"""Verdicts of a collection: the comparison of two photos, and calibrations learned from its photos."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from collection.contents import Contents
from collection.describing import Describer
from collection.options import LABELS
from collection.results import Match
from collection.snapshot import Snapshot, SnapshotSource
from delg.common.errors import InputError
from delg.common.progress import progress_bar
from evaluation.report.reliability import reliability_chart
from extraction.features import Features
from extraction.images import BadImageError, ImageRef, Reading, load_image
from matching.verdict import ABSENT, SAME, Calibration, Verdict, Verifier
from matching.verdict.calibration import FALSE_MATCH_RATE, Judged, extractor_of
from matching.verdict.learning import MOST, spread, with_labels, without_labels
from matching.verdict.reliability import held_out

LEAST = 20  # photos
CALIBRATION = "verdict.json"  # learned from these photos, beside the state
RELIABILITY = "verdict.svg"
DIFFERENT = "different"
CERTAIN = Verdict(SAME, 1.0)


def compared(verifier: Verifier, query: Features, photo: Features, false_match_rate: float = FALSE_MATCH_RATE) -> Match:
    """The comparison of two photos by their features.

    Raises:
      InputError: the features cannot be compared, or the rate is out of range.
    """
    pair = verifier.pair(query, photo, false_match_rate)
    rows = pair.inliers.pairs
    points = np.concatenate([query.keypoints[rows[:, 0]], photo.keypoints[rows[:, 1]]], axis=1)
    return Match(
        pair.similarity,
        points,
        pair.probability,
        of_pair(pair.verdict.label),
        square(pair.transform),
        pair.evidence.tentative or 0,
    )


def of_pair(label: str) -> str:
    """A verdict on two photos."""
    return DIFFERENT if label == ABSENT else label


def square(transform: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """A transform as a ``(3, 3)`` matrix."""
    if transform is None or len(transform) == 3:
        return transform
    return np.vstack([transform, [0.0, 0.0, 1.0]])


def calibration_of(contents: Contents, snapshot: Snapshot) -> Calibration:
    """From evidence to probabilities: the collection's own calibration, if there is one, or the package's.

    Raises:
      InputError: no photo is described, or the own calibration is damaged.
    """
    own = contents.state.folder / CALIBRATION
    return Calibration.load(own) if own.is_file() else shipped_calibration(contents, snapshot)


def shipped_calibration(contents: Contents, snapshot: Snapshot) -> Calibration:
    """The package's calibration for the features of a collection.

    Raises:
      InputError: no photo is described.
    """
    if "settings" not in snapshot.facts:
        raise InputError(f"The collection of {contents.folder} holds no photo that is described; delg sync does that.")
    return Calibration.of(snapshot.facts["settings"], snapshot.facts["heads"])


def labels_of(paths: Sequence[str], labels: str | Mapping[str, str]) -> list[str] | None:
    """The label of each photo; None for changed copies.

    Args:
      paths: of the photos.
      labels: ``copies``; ``folders`` for the sub-folder of each photo; or the label by path. A photo without a label
        shows what no other photo shows.

    Raises:
      InputError: another text.
    """
    if isinstance(labels, str):
        if labels not in LABELS:
            raise InputError(f"labels expects {' or '.join(LABELS)}, or the label by path. Received: {labels!r}")
        if labels == "copies":
            return None
        parents = ((path, PurePosixPath(path).parent.as_posix()) for path in paths)
        labels = {path: parent for path, parent in parents if parent != "."}
    return [labels.get(path, f"/{path}") for path in paths]


def calibrated(
    source: SnapshotSource,
    files: Sequence[Path],
    describer: Describer,
    start: Calibration,
    labels: Sequence[str] | None,
    *,
    progress: bool,
) -> tuple[Calibration, str | None]:
    """Learns a calibration, and draws how reliable its probabilities are.

    Args:
      source: the photos as features.
      files: of the photos.
      describer: of the collection.
      start: how local features are matched.
      labels: of the photos; None for changed copies.
      progress: show a progress line.

    Returns:
      The calibration; a reliability diagram as SVG, of each half of the queries by what the other half teaches, and
      None where a half is too small.

    Raises:
      InputError: there are too few photos, or too few with a label that another one has.
    """
    if len(source) < LEAST:
        raise InputError(f"A calibration expects {LEAST} photos or more. Received: {len(source)}")
    rows = spread(len(source), MOST)
    with progress_bar(rows, desc="calibration", unit="photo", disable=not progress) as bar:
        if labels is None:
            pixels = _pixels(source, files, bar)

            def describe(image: NDArray[np.uint8], name: str) -> Features:
                return describer.as_read(describer.extractor(image, name))

            judged = list(without_labels(pixels, describe, source, start))
        else:
            judged = list(with_labels(source, labels, start, rows=bar))
    text = "changed copies of the collection's photos" if labels is None else "labels of the collection's photos"

    def learn(queries: Sequence[Judged]) -> Calibration:
        return Calibration.learn(
            queries,
            extractor=extractor_of(source.settings),
            images=len(source),
            source=f"{text}: {len(rows)} queries",
            matching=start.matching,
        )

    calibration = learn(judged)
    try:
        chart = reliability_chart({text: held_out(judged, learn)})
    except InputError:  # half of the queries teach nothing
        chart = None
    return calibration, chart


def _pixels(
    source: SnapshotSource, files: Sequence[Path], rows: Iterator[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for row in rows:
        try:
            image, *_ = load_image(ImageRef(source.names[row], str(files[row])), Reading.of(source.settings))
        except BadImageError:  # removed or broken since it was described
            continue
        yield row, image
