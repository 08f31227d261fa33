"""Pictures of single queries for the page: ranking strips and inlier matches, worst queries first."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import RowResult
from evaluation.metrics.truth import Truth
from evaluation.report.thumbs import picture, thumbnail
from extraction.images import OWN, Reading

MAX_QUERIES, STRIP_BYTES = 24, 2_200_000
KINDS = {"positive": "✓", "negative": "✗", "junk": "–"}
DrawMatches = Callable[[int, int], tuple[NDArray[np.uint8], int] | None]


@dataclass(frozen=True)
class Tile:
    """A result: picture (None when the image cannot be shown), name, kind and rank."""

    src: str | None
    name: str
    kind: str
    rank: int

    @property
    def mark(self) -> str:
        """A sign for readers who do not see the colour."""
        return KINDS[self.kind]


@dataclass(frozen=True)
class Strip:
    """First results of a method, with the query's average precision in percent."""

    method: str
    ap: float
    tiles: list[Tile]


@dataclass(frozen=True)
class Card:
    """A query with a strip for each method."""

    name: str
    src: str | None
    cropped: bool
    strips: list[Strip]

    @property
    def first(self) -> float:
        """Average precision of the first stage."""
        return self.strips[0].ap

    @property
    def last(self) -> float:
        """Average precision of the last reranker."""
        return self.strips[-1].ap

    @property
    def change(self) -> float:
        """The change by the reranker with the lowest average precision; 0 without rerankers."""
        return min((strip.ap - self.first for strip in self.strips[1:]), default=0.0)


@dataclass(frozen=True)
class Overlay:
    """A picture of the inlier matches between a query and a result."""

    src: str
    query: str
    result: str
    kind: str
    inliers: int


def worst_first(result: RowResult, protocol: str) -> list[int]:
    """Queries by increasing average precision of a method, without queries that have no value."""
    ap = result.per_query(protocol)
    return [int(q) for q in np.argsort(ap, kind="stable") if not math.isnan(ap[q])]


def shown_queries(results: Sequence[RowResult], protocol: str) -> list[int]:
    """The queries of the page: in turn the two worst of the first stage, and the query that a reranker hurt most."""
    worst = worst_first(results[0], protocol)
    before = results[0].per_query(protocol)
    loss = {q: min((float(o.per_query(protocol)[q] - before[q]) for o in results[1:]), default=0.0) for q in worst}
    hurt = [q for q in sorted(worst, key=lambda q: loss[q]) if loss[q] < 0]
    turns: list[int] = []
    for i, q in enumerate(worst):
        turns.append(q)
        if i % 2 and hurt:
            turns.append(hurt.pop(0))
    return list(dict.fromkeys(turns))


def name_of(row: int, benchmark: Benchmark) -> str:
    """An image's name; rows beyond the database are distractors, which are numbered."""
    beyond = row - len(benchmark.database)
    return benchmark.database[row].name if beyond < 0 else f"distractor {beyond}"


def kind_of(row: int, truth: Truth) -> str:
    """``"positive"``, ``"junk"`` or ``"negative"``."""
    if row in truth.positives:
        return "positive"
    return "junk" if row in truth.junk else "negative"


def cards(
    benchmark: Benchmark, results: Sequence[RowResult], budget: int = STRIP_BYTES, reading: Reading = OWN
) -> list[Card]:
    """Ranking strips of the worst or most hurt queries, as many as the page has room for.

    Args:
      benchmark: images and truths.
      results: the first stage, then its rerankers.
      budget: largest number of bytes of all pictures together.
      reading: how images were read for the features.

    Returns:
      A card for each shown query; at least one card where a query has a value.
    """
    protocol = benchmark.main_protocol
    shown: list[Card] = []
    size = 0
    for q in shown_queries(results, protocol)[:MAX_QUERIES]:
        card = _card(benchmark, results, q, reading)
        size += sum(len(src) for src in _pictures(card))
        if shown and size > budget:
            break
        shown.append(card)
    return shown


def _pictures(card: Card) -> Iterator[str]:
    yield card.src or ""
    for strip in card.strips:
        yield from (tile.src or "" for tile in strip.tiles)


def _card(benchmark: Benchmark, results: Sequence[RowResult], q: int, reading: Reading) -> Card:
    protocol, query = benchmark.main_protocol, benchmark.queries[q]
    truth = benchmark.protocols[protocol][q]
    shown: dict[int, str | None] = {}
    strips = []
    for result in results:
        rows = [int(row) for row in result.top[protocol][q] if row >= 0]
        for row in rows:
            if row not in shown:
                in_database = row < len(benchmark.database)
                shown[row] = thumbnail(benchmark.database[row], reading=reading) if in_database else None
        tiles = [
            Tile(shown[row], name_of(row, benchmark), kind_of(row, truth), rank)
            for rank, row in enumerate(rows, start=1)
        ]
        strips.append(Strip(result.name, float(result.per_query(protocol)[q]), tiles))
    return Card(query.name, thumbnail(query, reading=reading), query.crop is not None, strips)


def overlays(benchmark: Benchmark, result: RowResult, draw: DrawMatches, queries: int = 4) -> list[Overlay]:
    """Inlier matches of the worst queries: with the first right result, and with the first wrong one.

    Args:
      benchmark: images and truths.
      result: row of the reranker that found the matches.
      draw: ``(query, database row) -> (picture, number of inliers)``, None when an image cannot be read.
      queries: number of queries.

    Returns:
      At most two pictures for each query.
    """
    protocol = benchmark.main_protocol
    pictures = []
    for q in worst_first(result, protocol)[:queries]:
        truth, rows = benchmark.protocols[protocol][q], [int(row) for row in result.top[protocol][q] if row >= 0]
        right = [row for row in rows if row in truth.positives] or [int(row) for row in truth.positives]
        wrong = [row for row in rows if kind_of(row, truth) == "negative" and row < len(benchmark.database)]
        for row in right[:1] + wrong[:1]:
            drawn = draw(q, row)
            if drawn is not None:
                names = benchmark.queries[q].name, benchmark.database[row].name
                pictures.append(Overlay(picture(drawn[0]), *names, kind_of(row, truth), drawn[1]))
    return pictures
