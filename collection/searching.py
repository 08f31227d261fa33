"""``delg search FOLDER PHOTO...``: brings the collection in step, answers, and prints."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from collection.collection import BusyError, Collection
from collection.files import image_file
from collection.results import Results, write_csv
from delg.common.errors import InputError
from delg.common.files import check_writable, write_text
from delg.common.options import refuse
from evaluation.report.results import render_search
from extraction.images import list_images
from matching.lookup import Result, check_crop
from matching.options import SearchOptions

PAGE = "search.html"
COLUMNS = ("query", "answer", "rank", "photo", "similarity", "inliers", "probability", "verdict")


def answer(arguments: Sequence[str], options: SearchOptions) -> None:
    """Answers the queries of a command line. A query that cannot be used is named, and the others are answered.

    Args:
      arguments: the folder of the collection, then photos or folders of photos.
      options: of the command.

    Raises:
      InputError: an argument or an option does not fit, or a query cannot be used.
    """
    folder, *given = arguments
    if not given:
        raise InputError(f"Expected FOLDER PHOTO...: the folder {folder}, and then one photo or more to look for.")
    queries = [path for one in given for path in _photos(one)]
    asked = _asked(options, len(queries))
    with Collection.open(folder, options.model, state=options.collection) as collection:
        _sync(collection, wanted=options.sync)
        answers, failed = [], 0
        for query in queries:
            try:
                answers.append(collection.search(query, **asked))
            except InputError as error:
                if len(queries) == 1:
                    raise
                print(error, file=sys.stderr, flush=True)
                failed += 1
                continue
            if options.format == "table":
                print(answers[-1].table(files=True), flush=True)
        if options.format == "json":
            print(json.dumps([one.as_dict() for one in answers], indent=1))
        elif options.format == "csv":
            write_csv([row for one in answers for row in _rows(one)], COLUMNS)
        if len(queries) == 1 and (options.output or collection.writable):
            place = Path(options.output) if options.output else collection.state_folder / PAGE
            write_text(place, result_page(collection, answers[0]))
            print(f"page: {place}", file=sys.stderr if options.format != "table" else sys.stdout)
    if failed:
        raise InputError(f"{failed} of {len(queries)} queries cannot be used.")


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
    ref, features = answer.described
    results = [Result(one.path, one.similarity, rank, one.before, one.path) for rank, one in enumerate(answer.results)]
    verified = any(one.inliers is not None for one in answer)
    query = ref.path if answer.picture is None else answer.picture
    with collection.inliers_of(answer) as verify, image_file(query, collection.folder) as file:
        return render_search(
            (replace(ref, path=str(file)), features),
            results,
            str(collection.folder),
            searched=f"{answer.photos} photos of {collection.folder}",
            reranked=verified,
            verify=verify if verified else None,
            settings={"folder": collection.folder, "model": collection.model},
            verdict=answer.headline.capitalize() if answer.verdict else "",
            notes=[f"{one.verdict}, probability {one.probability:.3f}" if one.verdict else "" for one in answer],
        )


def _asked(options: SearchOptions, queries: int) -> dict[str, Any]:
    """The arguments of :meth:`Collection.search`, checked before long work starts.

    Raises:
      InputError: options do not fit together.
    """
    refuse("FOLDER PHOTO", options, ["query", "features_dir", "index", "search_options", "images_dir"])
    if options.output is not None:
        if queries > 1:
            raise InputError(f"--output is the page of one query. Received: {queries} queries")
        if not options.output.lower().endswith(".html"):
            raise InputError(f"--output expects a file ending in .html. Received: {options.output!r}")
        check_writable(Path(options.output).parent)
    rerank = {None: "auto", "none": None}.get(options.rerank, options.rerank)
    asked: dict[str, Any] = {"k": options.top_k, "crop": check_crop(options.crop), "rerank": rerank}
    if rerank == "auto":
        return {**asked, "verify": options.verify, "false_match_rate": options.false_match_rate}
    refuse(f"--rerank={options.rerank}", options, ["verify", "false_match_rate"])
    return asked


def _photos(text: str) -> list[str]:
    """The photos that an argument names."""
    return [ref.path for ref in list_images(text)] if Path(text).is_dir() else [text]


def _sync(collection: Collection, *, wanted: bool) -> None:
    """Brings the collection in step, or says how it is not."""
    if wanted and collection.writable:
        try:
            changes = collection.sync(local=False, progress=True, wait=not len(collection))
        except BusyError:
            print(
                f"Another process describes {collection.folder}; the photos before that are searched.", file=sys.stderr
            )
            return
        if changes:
            print(f"{collection.folder}: {changes}", file=sys.stderr)
            for path, reason in changes.failed.items():
                print(f"failed: {path}: {reason}", file=sys.stderr)
    elif changes := collection.pending():
        print(f"{collection.folder} has changed since it was described: {changes}; delg sync.", file=sys.stderr)


def _rows(answer: Results) -> Iterator[dict[str, Any]]:
    """An answer as rows, one for each photo; one without a photo where there is none."""
    row = {"query": answer.query, "answer": answer.verdict}
    if not len(answer):
        yield row
    for result in answer:
        yield {**row, **result.as_dict(), "photo": str(result.file)}
