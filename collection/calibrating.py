"""From evidence to probabilities, learned from the photos of a collection: with labels, or from changed copies."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from collection.describing import Describer
from collection.options import LABELS
from collection.snapshot import SnapshotSource
from delg.common.errors import InputError
from delg.common.progress import progress_bar
from extraction.features import Features
from extraction.images import BadImageError, ImageRef, Reading, load_image
from matching.verdict import Calibration
from matching.verdict.calibration import extractor_of
from matching.verdict.learning import MOST, spread, with_labels, without_labels

LEAST = 20  # photos


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
) -> Calibration:
    """Learns a calibration.

    Args:
      source: the photos as features.
      files: of the photos.
      describer: of the collection.
      start: how local features are matched.
      labels: of the photos; None for changed copies.
      progress: show a progress line.

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
    return Calibration.learn(
        judged,
        extractor=extractor_of(source.settings),
        images=len(source),
        source=f"{text}: {len(rows)} queries",
        matching=start.matching,
    )


def _pixels(
    source: SnapshotSource, files: Sequence[Path], rows: Iterator[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for row in rows:
        try:
            image, *_ = load_image(ImageRef(source.names[row], str(files[row])), Reading.of(source.settings))
        except BadImageError:  # removed or broken since it was described
            continue
        yield row, image
