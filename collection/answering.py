"""The answer to one query: the most similar photos, reranked, with the verdict on each."""

import os
from dataclasses import dataclass, replace

import numpy as np

from collection.contents import Contents
from collection.files import file_of
from collection.neighbours import Rows
from collection.results import Result, Results
from collection.snapshot import Snapshot, SnapshotSource
from collection.state import Transaction
from collection.verdicts import CERTAIN, calibration_of, of_pair, square
from delg.common.errors import InputError
from extraction.features import Features, Floats
from extraction.images import ImageRef
from matching.ranking import Ranking
from matching.rerankers.table import build_reranker, suited
from matching.source import MemorySource
from matching.verdict import Verifier

BY_EVIDENCE = "auto"
"""The reranker that verifies the first candidates and orders them by the probability of the same thing."""


@dataclass(frozen=True)
class Question:
    """The arguments of :meth:`collection.collection.Collection.search` besides the query.

    Attributes:
      digest: SHA-256 of a query that is a whole file; empty for a crop.
    """

    k: int
    rerank: str | None
    verify: int
    false_match_rate: float
    digest: str = ""


def answer(contents: Contents, name: str, described: tuple[ImageRef, Features], question: Question) -> Results:
    """Answers one question.

    Args:
      contents: of the collection.
      name: of the query.
      described: the query as an image and its features.
      question: about it.

    Raises:
      InputError: the reranker cannot be built, or the features cannot be compared.
    """
    query, k, by_evidence = described[1], question.k, question.rerank == BY_EVIDENCE
    reranker = None
    if question.rerank and not by_evidence:
        reranker = build_reranker(suited(question.rerank, contents.describer.facts.get("settings", {})))
    geometric = reranker.geometric if reranker else None
    verified = by_evidence or geometric is not None
    top_k = question.verify if by_evidence else reranker.top_k if reranker else 0
    with contents.state.reading() as transaction:
        snapshot = contents.refreshed(transaction)
        places, similarities = _nearest(contents, snapshot, query, max(k, top_k))
        source = SnapshotSource(contents.folder, snapshot, transaction)
        if verified or (reranker and reranker.uses_local):
            source.extra = contents.local_features_of(snapshot, transaction, places[:top_k])
        order, verdict, candidates = places, None, {}
        if reranker is not None:
            order = reranker(MemorySource([query]), source, Ranking(places[None], similarities[None])).row(0)
        before = {place: (rank, s) for rank, (place, s) in enumerate(zip(places.tolist(), similarities.tolist()), 1)}
        if verified:
            first = order[: top_k if by_evidence else min(k, top_k)]
            verifier = Verifier(source, calibration_of(contents, snapshot), top_k=top_k)
            found = verifier(
                query,
                first,
                [before[place][1] for place in first.tolist()],
                question.false_match_rate,
                chosen_from=min(top_k, len(places)),
            )
            verdict, candidates = found.verdict, {one.row: one for one in found.candidates}
            if by_evidence:
                order = np.concatenate([first[found.order], order[len(first) :]])
            elif geometric is not None:  # the inliers that the order comes from
                candidates = {
                    place: replace(one, inliers=geometric.inliers(query, source.features(place)))
                    for place, one in candidates.items()
                }
            own = transaction.described(question.digest)
            same = [place for place in order.tolist() if place in candidates and snapshot.descriptions[place] == own]
            if same:  # the same bytes
                order, verdict = np.array([*same, *order[~np.isin(order, same)]], np.int64), CERTAIN
                candidates |= {place: replace(candidates[place], verdict=CERTAIN) for place in same}
        changed = [_has_changed(contents, transaction, snapshot.paths[place]) for place in order[:k]]
    results = []
    for rank, place in enumerate(order[:k].tolist(), 1):
        path, candidate = snapshot.paths[place], candidates.get(place)
        file = file_of(contents.folder, path)
        result = Result(path, file, before[place][1], rank, before[place][0], changed=changed[rank - 1])
        if candidate is not None:
            result = replace(
                result,
                inliers=len(candidate.inliers),
                probability=candidate.probability,
                verdict=of_pair(candidate.verdict.label),
                transform=square(candidate.transform),
            )
        results.append(result)
    return Results(
        name,
        tuple(results),
        len(snapshot),
        probability=verdict.probability if verdict else None,
        verdict=verdict.label if verdict else "",
        described=described,
    )


def _nearest(contents: Contents, snapshot: Snapshot, query: Features, count: int) -> tuple[Rows, Floats]:
    """The most similar photos whose files are still there, and their similarities."""
    if query.global_descriptor.size != snapshot.vectors.shape[1]:
        raise InputError(
            f"The query's global descriptor has {query.global_descriptor.size} values, those of the collection "
            f"{snapshot.vectors.shape[1]}."
        )
    wanted = count
    while True:
        places, similarities = snapshot.nearest(query.global_descriptor, min(count, len(snapshot)))
        present = np.array([_present(contents, snapshot.paths[place]) for place in places], bool)
        if present.sum() >= wanted or len(places) == len(snapshot):
            return places[present][:wanted], similarities[present][:wanted]
        count *= 2


def _present(contents: Contents, path: str) -> bool:
    """Whether the file of a photo is there; True where the whole folder is away, as an unmounted disk is."""
    return os.path.lexists(file_of(contents.folder, path)) or not contents.folder.is_dir()


def _has_changed(contents: Contents, transaction: Transaction, path: str) -> bool:
    """Whether a file has another size or time than when it was described; False where it is gone."""
    photo = transaction.photo(path)
    try:
        now = file_of(contents.folder, path).stat()
    except OSError:
        return False
    return photo is not None and (now.st_size, now.st_mtime_ns) != (photo.size, photo.mtime_ns)
