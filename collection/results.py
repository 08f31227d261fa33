"""What a collection answers: the changes of a synchronisation, and the results of a search."""

import csv
import html
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features
from extraction.images import ImageRef


@dataclass(frozen=True)
class Changes:
    """What a synchronisation found.

    Attributes:
      added: paths of new photos.
      removed: paths that are gone.
      renamed: new path by old path, of photos with the same bytes; their descriptions stay.
      changed: paths of photos with other bytes than before.
      failed: reason by path, of new or changed files that cannot be described.
      described: number of photos whose descriptions were computed.
    """

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    described: int = 0

    def __bool__(self) -> bool:
        """Whether anything has changed."""
        return bool(self.added or self.removed or self.renamed or self.changed or self.failed)

    def __str__(self) -> str:
        """The numbers, as ``3 added, 1 renamed``."""
        names = ("added", "removed", "renamed", "changed", "failed")
        counts = [f"{len(getattr(self, name))} {name}" for name in names if getattr(self, name)]
        return ", ".join(counts) or "no changes"

    def __repr__(self) -> str:
        """The same as a representation."""
        return f"<Changes: {self}>"


@dataclass(frozen=True, eq=False)
class Result:
    """One photo of an answer.

    Attributes:
      path: of the photo, below the collection's folder.
      file: of the photo.
      similarity: cosine of its global descriptor and that of the query.
      rank: 1 for the best.
      before: its rank by similarity alone.
      inliers: number of local matches that agree on one transform; None where ``auto`` did not compare them.
      probability: that the photo shows what the query shows, see :mod:`matching.verdict`; None where that is not known.
      verdict: ``same``, ``unsure``, or ``different``; empty where the photo was not verified.
      transform: ``(3, 3)`` float64, from pixels of the photo to pixels of the query; None without inliers.
      changed: whether the file has changed since it was described.
    """

    path: str
    file: Path
    similarity: float
    rank: int
    before: int
    inliers: int | None = None
    probability: float | None = None
    verdict: str = ""
    transform: NDArray[np.float64] | None = None
    changed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        transform = None if self.transform is None else self.transform.tolist()
        return {**vars(self), "file": str(self.file), "transform": transform}

    def __repr__(self) -> str:
        """The result in short."""
        parts = [f"similarity={self.similarity:.4f}"]
        parts += [] if self.inliers is None else [f"inliers={self.inliers}"]
        parts += [] if self.probability is None else [f"probability={self.probability:.3f}"]
        parts += [self.verdict] if self.verdict else []
        return f"<Result {self.rank}: {self.path}, {', '.join(parts)}>"


@dataclass(frozen=True, eq=False)
class Results(Sequence[Result]):
    """The answer to one query, best photo first.

    Attributes:
      query: name of the query.
      results: the photos.
      photos: number of photos that were searched.
      probability: that the best photo shows what the query shows; None where that is not known.
      verdict: ``same``, ``unsure``, or ``not in the collection``; empty where no photo was verified.
      note: what the user should know about the answer; empty if nothing.
      described: the query as an image and its features; None for an answer from elsewhere.
      picture: bytes of a query that is no file, which the page of the answer shows.
    """

    query: str
    results: tuple[Result, ...]
    photos: int
    probability: float | None = None
    verdict: str = ""
    note: str = ""
    described: tuple[ImageRef, Features] | None = None
    picture: bytes | None = None

    @overload
    def __getitem__(self, place: int) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, place: int | slice) -> Result | tuple[Result, ...]:
        """The photo at a place, 0 for the best."""
        return self.results[place]

    def __len__(self) -> int:
        """Number of photos in the answer."""
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        """The photos, best first."""
        return iter(self.results)

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON values."""
        values = {name: value for name, value in vars(self).items() if name not in ("described", "picture")}
        return {**values, "results": [result.as_dict() for result in self.results]}

    @property
    def headline(self) -> str:
        """The verdict in one line, as ``same (probability 0.998)``."""
        return _headline(self.verdict, self.probability) or f"{len(self)} of {self.photos} photos"

    def __str__(self) -> str:
        """A table of the photos."""
        return self.table()

    def table(self, *, files: bool = False) -> str:
        """A table of the photos, by path, or by file."""
        lines = [f"{self.query}: {self.headline}", *([self.note] if self.note else [])]
        lines.append("rank  similarity  inliers  probability  verdict    photo")
        for one in self:
            inliers = "" if one.inliers is None else one.inliers
            probability = "" if one.probability is None else f"{one.probability:.3f}"
            photo = one.file if files else one.path
            changed = "  (changed since it was described)" if one.changed else ""
            numbers = f"{one.rank:4d}  {one.similarity:10.4f}  {inliers:>7}  {probability:>11}"
            lines.append(f"{numbers}  {one.verdict:9}  {photo}{changed}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """The same table, for an interpreter."""
        return str(self)

    def _repr_html_(self) -> str:
        """The answer with pictures, for a notebook."""
        from evaluation.report.thumbs import thumbnail

        tiles = []
        for one in self:
            picture = thumbnail(ImageRef(one.path, str(one.file)), 160, 240)
            image = f'<img src="{picture}" alt="">' if picture else ""
            text = f"{one.similarity:.3f}" + (f", {one.inliers} inliers" if one.inliers is not None else "")
            tiles.append(
                f'<figure style="display:inline-block;margin:4px;text-align:center">{image}<figcaption>'
                f"{html.escape(one.path)}<br>{text} {html.escape(one.verdict)}</figcaption></figure>"
            )
        return f"<p><b>{html.escape(self.query)}: {html.escape(self.headline)}</b></p>{''.join(tiles)}"


@dataclass(frozen=True, eq=False)
class Match:
    """Two photos compared.

    Attributes:
      similarity: cosine of the global descriptors; None where there are none.
      pairs: ``(N, 4)`` float32, pixels ``(x, y)`` of each inlier in the first and in the second photo.
      probability: that both show the same; None where that is not known.
      verdict: ``same``, ``unsure``, or ``different``.
      transform: ``(3, 3)`` float64 from pixels of the second photo to those of the first; None without inliers.
      tentative: number of local features that are alike, before one transform is looked for.
    """

    similarity: float | None
    pairs: NDArray[np.float32]
    probability: float | None = None
    verdict: str = ""
    transform: NDArray[np.float64] | None = None
    tentative: int = 0

    def __repr__(self) -> str:
        """The comparison in short."""
        return f"<Match: {self.headline}, {self.inliers} inliers>"

    @property
    def headline(self) -> str:
        """The verdict in one line, as ``same (probability 0.998)``."""
        return _headline(self.verdict, self.probability) or "no verdict"

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        transform = None if self.transform is None else self.transform.tolist()
        return {**vars(self), "pairs": self.pairs.tolist(), "transform": transform, "inliers": self.inliers}

    @property
    def inliers(self) -> int:
        """Number of local matches that agree on one transform."""
        return len(self.pairs)


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Prints rows as CSV with a header; numbers in short, None as an empty text, further values left out."""
    writer = csv.DictWriter(sys.stdout, columns, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: f"{one:.6g}" if isinstance(one, float) else one for name, one in row.items()})


def _headline(verdict: str, probability: float | None) -> str:
    """A verdict with its probability; empty without a verdict."""
    return f"{verdict} (probability {probability:.3f})" if verdict and probability is not None else verdict
