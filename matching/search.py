r"""Finds the photos of a folder that show what a photo shows; or searches a feature store or an index.

delg search photos query.jpg
delg-search --query=query.jpg --model=MODEL_DIR --features_dir=STORE_DIR --top_k=10 --rerank=superglobal
delg-search --query=query.jpg --model=MODEL_DIR --index=INDEX_DIR --search_options='nprobe=64'
delg-search --query=query.jpg --model=MODEL_DIR --features_dir=STORE_DIR --rerank=ransac --images_dir=photos \
  --output=results.html
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from delg.common.options import define_flags, fingerprint, from_flags, refuse, require
from matching.options import SearchOptions

if TYPE_CHECKING:
    from extraction.features import Features
    from extraction.formats.base import FeatureSource
    from extraction.images import ImageRef, Reading
    from matching.indexes.saved import Searchable
    from matching.lookup import Result
    from matching.rerankers.base import Reranker

POSITIONAL = "[FOLDER PHOTO...]"

define_flags(SearchOptions)


def main(arguments: Sequence[str]) -> None:
    """Runs the command.

    Args:
      arguments: a folder of photos and queries; none for a feature store or an index.
    """
    options = from_flags(SearchOptions)
    if arguments:
        from collection.searching import answer

        answer(arguments, options)
    else:
        _search_features(options)


def _search_features(options: SearchOptions) -> None:
    """Describes the query, searches, reranks, prints rank, score and path (or name), and writes the page.

    Raises:
      InputError: a flag is missing or does not fit, or the store was made with other settings.
    """
    from dataclasses import replace
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.formats.checks import check_settings
    from extraction.images import BadImageError, ImageRef
    from extraction.settings import set_reading
    from extraction.store.encoding import as_stored
    from matching.lookup import check_crop, find
    from matching.rerankers.table import build_reranker, suited

    refuse("--features_dir and --index", options, ["collection", "verify", "false_match_rate", "format"])
    if options.rerank == "none":
        options = replace(options, rerank=None)
    require(options, ("query", *(() if options.index else ("features_dir",))))
    if options.rerank and not options.features_dir:
        raise InputError(f"--rerank={options.rerank} reads features of the database: expected --features_dir, too.")
    _check_output(options)
    ref = ImageRef(Path(str(options.query)).stem, str(options.query), check_crop(options.crop))
    reranker = build_reranker(options.rerank) if options.rerank else None
    store, index = _database(options)
    if reranker is not None:
        reranker = build_reranker(suited(str(options.rerank), _settings(store, index)))
    if reranker is not None and reranker.uses_local and store is not None and not store.local_bytes:
        raise InputError(f"--rerank={options.rerank} matches local features; {options.features_dir} holds none.")
    options = replace(options, model=options.model or _recorded(options, _settings(store, index)))
    extractor = set_reading(build_extractor(str(options.model)), exif=_reading(store, index).exif)
    if index is not None:
        index.check_queries(extractor.settings, f"Features by {options.model}")
    if store is not None:
        check_settings(
            extractor.settings, store.settings, f"Features by {options.model} and those in {options.features_dir}"
        )
    try:
        query = describe(extractor, ref)
    except BadImageError as error:
        raise InputError(f"The query {options.query} cannot be used: {error}.") from error
    if store is not None:
        query = as_stored(query, store.local_dtype)
    results = find(query, store, options.top_k, reranker, index)
    print("rank  score     image")
    for rank, result in enumerate(results, 1):
        print(f"{rank:4d}  {result.score:8.4f}  {result.path or result.name}")
    if options.output:
        _write_page(options, (ref, query), results, (store, index), reranker)


def _settings(store: "FeatureSource | None", index: "Searchable | None") -> dict[str, Any]:
    """How the features of the database were made."""
    if store is not None:
        return store.settings
    return index.manifest.settings if index is not None else {}


def _recorded(options: SearchOptions, settings: dict[str, Any]) -> str:
    """The extractor that the features of the database were made with.

    Raises:
      InputError: the settings do not say it.
    """
    from delg.common.errors import InputError
    from extraction.extractors.table import made_by

    text = made_by(settings)
    if text is None:
        place, kind = options.features_dir or options.index, settings.get("extractor", "nothing that is recorded")
        raise InputError(f"--model is required: {place} was made with {kind}, and does not record which model.")
    return text


def _reading(store: "FeatureSource | None", index: "Searchable | None") -> "Reading":
    """How the images of the database were read; the query is read likewise."""
    from extraction.images import Reading

    return Reading.of(_settings(store, index))


def _check_output(options: SearchOptions) -> None:
    """Checks that the page can be written, before long work starts."""
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable

    if not options.output and not options.images_dir:
        return
    if not options.output or not options.images_dir:
        raise InputError("--output and --images_dir need each other: the page shows the photos of that folder.")
    if not options.output.lower().endswith(".html"):
        raise InputError(f"--output expects a file ending in .html. Received: {options.output!r}")
    if not Path(options.images_dir).is_dir():
        raise InputError(f"The image folder {options.images_dir} does not exist or is not a folder.")
    check_writable(Path(options.output).parent)


def _write_page(
    options: SearchOptions,
    query: "tuple[ImageRef, Features]",
    results: "Sequence[Result]",
    database: "tuple[FeatureSource | None, Searchable | None]",
    reranker: "Reranker | None",
) -> None:
    """Writes the page of the results."""
    from delg.common.files import write_text
    from evaluation.report.results import render_search, verifier

    store, index = database
    images = len(index) if index is not None else len(store) if store is not None else 0
    settings = {name: value for name, value in fingerprint(options).items() if value}
    if options.crop:
        settings["crop"] = ",".join(f"{side:g}" for side in options.crop)
    page = render_search(
        query,
        results,
        str(options.images_dir),
        searched=f"{images} images of {options.index or options.features_dir}",
        reranked=reranker is not None,
        verify=verifier(query[1], store, reranker),
        settings=settings,
        reading=_reading(store, index),
    )
    write_text(str(options.output), page)
    print(f"page: {options.output}")


def _database(options: SearchOptions) -> "tuple[FeatureSource | None, Searchable | None]":
    """The feature store and the index that the options name."""
    from delg.common import spec
    from delg.common.errors import InputError
    from extraction.formats.table import open_features
    from extraction.images import list_images
    from extraction.store.tools import behind
    from matching.indexes.table import open_index

    if options.search_options and not options.index:
        raise InputError("--search_options needs --index.")
    store = open_features(options.features_dir) if options.features_dir else None
    if store is not None and options.images_dir and (lines := behind(store, list_images(options.images_dir))):
        place = options.images_dir
        print(f"{options.features_dir} differs from {place}: {lines}; delg search {place} follows it.", file=sys.stderr)
    if not options.index:
        return store, None
    try:
        changes = spec.parse(f"options({options.search_options or ''})")[1]
    except InputError as error:
        raise InputError(f"--search_options expects name=value, ... Received: {options.search_options!r}") from error
    index = open_index(options.index, **changes)
    if store is not None:
        index.check_store(store, str(options.features_dir))
    return store, index
