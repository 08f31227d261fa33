"""The results of one search as a page that opens from disk, without network and script and with pictures inside."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evaluation.report.html import page
from evaluation.report.pairs import draw_pair
from evaluation.report.thumbs import picture, thumbnail
from extraction.features import Features
from extraction.formats.base import FeatureSource
from extraction.images import OWN, ImageRef, Reading, find_image
from matching.lookup import Result
from matching.rerankers.base import Reranker

QUERY_HEIGHT, TILE_HEIGHT, MAX_WIDTH = 360, 220, 480  # pixels
MAX_PICTURES = 20  # pictures of inlier matches, about 100 kB each
Rows = NDArray[np.int64]
Place = str | os.PathLike[str]
Query = tuple[ImageRef, Features]
Verify = Callable[[int], tuple[Features, Rows]]


@dataclass(frozen=True)
class ResultTile:
    """One result.

    Attributes:
      rank: 1 for the best.
      before: rank in the first stage; None without a second stage.
      name: path of the image, or its name where the path is unknown.
      score: formatted score.
      src: picture of the image; None when it cannot be shown.
      inliers: number of matches that agree on one transform; None where local features are not compared.
      matches: picture of the inlier matches; None without picture.
      note: a further line of text; empty for none.
    """

    rank: int
    before: int | None
    name: str
    score: str
    src: str | None
    inliers: int | None = None
    matches: str | None = None
    note: str = ""

    @property
    def move(self) -> str:
        """An arrow for the direction in which reranking moved the result."""
        before = self.rank if self.before is None else self.before
        return "▲" if self.rank < before else "▼" if self.rank > before else "="


def verifier(query: Features, store: FeatureSource | None, reranker: Reranker | None) -> Verify | None:
    """A function that finds the inliers of a database row; None without local features or a geometric reranker."""
    geometric = reranker.geometric if reranker else None
    if store is None or geometric is None or not len(query):
        return None

    def verify(row: int) -> tuple[Features, Rows]:
        features = store.features(row)
        return features, geometric.inliers(query, features).pairs

    return verify


def render_search(
    query: Query,
    results: Sequence[Result],
    images_dir: Place,
    *,
    searched: str,
    reranked: bool,
    verify: Verify | None,
    settings: Mapping[str, object],
    reading: Reading = OWN,
    verdict: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The page.

    Args:
      query: the image and its features; the page outlines the image's crop.
      results: the results, best first.
      images_dir: folder of the photos that the results name; the page shows a note instead of a missing photo.
      searched: description of the database.
      reranked: whether the page also shows the ranks of the first stage.
      verify: gives the features of a database row, and ``(M, 2)`` its inliers with the query, rows of local features;
        None where local features are not compared.
      settings: settings of the search by name.
      reading: how images were read for the features.
      verdict: on the query, in words; empty for none.
      notes: a line of text for each result; empty for none.

    Returns:
      An HTML document.
    """
    ref = query[0]
    tiles = [_tile(query, result, rank, images_dir, verify, reading=reading) for rank, result in enumerate(results, 1)]
    tiles = [replace(tile, note=note) for tile, note in zip(tiles, notes or [""] * len(tiles), strict=True)]
    return page(
        "results.html",
        query=ref.name,
        src=thumbnail(ref, QUERY_HEIGHT, MAX_WIDTH, reading),
        cropped=ref.crop is not None,
        searched=searched,
        reranked=reranked,
        verified=verify is not None,
        verdict=verdict,
        tiles=tiles,
        absent=sum(tile.src is None for tile in tiles),
        images_dir=os.fspath(images_dir),
        most=MAX_PICTURES,
        settings=settings,
    )


def _tile(
    query: Query,
    result: Result,
    rank: int,
    images_dir: Place,
    verify: Verify | None,
    *,
    reading: Reading,
) -> ResultTile:
    image = find_image(images_dir, result.name, result.path)
    inliers, matches = None, None
    if verify is not None:
        features, pairs = verify(result.row)
        inliers = len(pairs)
        if inliers and rank <= MAX_PICTURES:
            drawn = draw_pair((query[0], image), (query[1], features), pairs, reading)
            matches = None if drawn is None else picture(drawn)
    score = f"{result.score:.4f}".rstrip("0").rstrip(".")
    src = thumbnail(image, TILE_HEIGHT, MAX_WIDTH, reading)
    return ResultTile(rank, result.before, result.path or result.name, score, src, inliers, matches)
