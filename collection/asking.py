"""``delg search FOLDER PHOTO...``: brings the collection in step, answers, and prints."""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from collection.collection import Collection
from collection.page import result_page
from collection.results import Results
from delg.common.errors import InputError
from delg.common.files import check_writable, write_text
from delg.common.options import refuse
from extraction.images import list_images
from matching.lookup import check_crop
from matching.options import SearchOptions

PAGE = "search.html"
COLUMNS = ("query", "rank", "photo", "similarity", "inliers", "probability", "verdict")


def answer(arguments: Sequence[str], options: SearchOptions) -> None:
    """Answers the queries of a command line.

    Args:
      arguments: the folder of the collection, then photos or folders of photos.
      options: of the command.

    Raises:
      InputError: an argument or an option does not fit, or a query cannot be used.
    """
    folder, *given = arguments
    refuse("FOLDER PHOTO", options, ["query", "features_dir", "index", "search_options", "images_dir"])
    if not given:
        raise InputError(f"Expected FOLDER PHOTO...: the folder {folder}, and then one photo or more to look for.")
    queries = [path for one in given for path in _photos(one)]
    output = options.output
    if output is not None:
        if len(queries) > 1:
            raise InputError(f"--output is the page of one query. Received: {len(queries)} queries")
        if not output.lower().endswith(".html"):
            raise InputError(f"--output expects a file ending in .html. Received: {output!r}")
        check_writable(Path(output).parent)
    crop = check_crop(options.crop)
    rerank = {None: "auto", "none": None}.get(options.rerank, options.rerank)
    with Collection.open(folder, options.model, state=options.collection) as collection:
        _sync(collection, wanted=options.sync)
        answers = []
        for query in queries:
            answers.append(collection.search(query, options.top_k, crop=crop, rerank=rerank, verify=options.verify))
            if options.format == "table":
                print(answers[-1].table(files=True), flush=True)
        if options.format == "json":
            print(json.dumps([one.as_dict() for one in answers], indent=1))
        elif options.format == "csv":
            _write_rows(answers)
        if len(queries) == 1 and (output or collection.writable):
            place = Path(output) if output else collection.state_folder / PAGE
            write_text(place, result_page(collection, answers[0]))
            print(f"page: {place}", file=sys.stderr if options.format != "table" else sys.stdout)


def _photos(text: str) -> list[str]:
    """The photos that an argument names."""
    return [ref.path for ref in list_images(text)] if Path(text).is_dir() else [text]


def _sync(collection: Collection, *, wanted: bool) -> None:
    """Brings the collection in step, or says how it is not."""
    if wanted and collection.writable:
        changes = collection.sync(local=False, progress=True)
        if changes:
            print(f"{collection.folder}: {changes}", file=sys.stderr)
            for path, reason in changes.failed.items():
                print(f"failed: {path}: {reason}", file=sys.stderr)
    elif changes := collection.pending():
        print(f"{collection.folder} has changed since it was described: {changes}; delg sync.", file=sys.stderr)


def _write_rows(answers: Sequence[Results]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in answers:
        for result in one:
            numbers = (result.inliers, result.probability)
            texts = ["" if value is None else f"{value:g}" for value in numbers]
            writer.writerow([one.query, result.rank, result.file, f"{result.similarity:.6f}", *texts, result.verdict])
