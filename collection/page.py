"""The answer to one query as a page that opens from disk."""

from collection.collection import Collection
from collection.results import Results
from evaluation.report.results import render_search
from matching.lookup import Result


def result_page(collection: Collection, answer: Results) -> str:
    """The page of an answer: the query, the photos, and the inliers as pictures.

    Args:
      collection: that answered.
      answer: of its :meth:`collection.collection.Collection.search`.

    Returns:
      An HTML document without outside resources.
    """
    if answer.described is None:
        raise ValueError("Expected an answer of Collection.search.")
    results = [Result(one.path, one.similarity, rank, one.before, one.path) for rank, one in enumerate(answer.results)]
    verified = any(one.inliers is not None for one in answer)
    with collection.inliers_of(answer) as verify:
        return render_search(
            answer.described,
            results,
            str(collection.folder),
            searched=f"{answer.photos} photos of {collection.folder}",
            reranked=verified,
            verify=verify if verified else None,
            settings={"folder": collection.folder, "model": collection.model},
            verdict=answer.headline.capitalize() if answer.verdict else "",
            notes=[f"{one.verdict}, probability {one.probability:.3f}" if one.verdict else "" for one in answer],
        )
