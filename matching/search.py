r"""Finds the database images most like a query image, from a feature store or an index; no labels are needed.

delg-search --query=query.jpg --model=MODEL_DIR --features_dir=STORE_DIR --top_k=10 --rerank=superglobal
delg-search --query=query.jpg --model=MODEL_DIR --index=INDEX_DIR --search_options='nprobe=64'
delg-search --query=query.jpg --model=MODEL_DIR --features_dir=STORE_DIR --rerank=ransac --images_dir=photos \
  --output=results.html
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from extraction.features import Features
    from extraction.formats.base import FeatureSource
    from extraction.images import ImageRef, Reading
    from matching.indexes.saved import Searchable
    from matching.lookup import Result
    from matching.rerankers.table import Reranker

FLAGS = flags.FLAGS

flags.DEFINE_string("query", None, "The query image.")
flags.DEFINE_string("model", None, "The model folder, or extractor such as rootsift, that the store was made with.")
flags.DEFINE_string("features_dir", None, "The database: a feature store made by delg-extract.")
flags.DEFINE_string(
    "index",
    None,
    "An index made by delg-index: its folder, its .db file or its URL. --features_dir is then for --rerank only.",
)
flags.DEFINE_string("search_options", None, "Settings to search the index by, such as 'nprobe=64, rescore=2000'.")
flags.DEFINE_integer("top_k", 10, "How many images to print.", lower_bound=1)
flags.DEFINE_string("rerank", None, "Second stage, such as ransac, 'ransac(top_k=200)' or superglobal.")
flags.DEFINE_list("crop", None, "The query's region x1,y1,x2,y2 in pixels of the image.")
flags.DEFINE_string("output", None, "Page with the query, the results and their inliers as pictures (.html).")
flags.DEFINE_string("images_dir", None, "Folder of the database's photos, for --output: that of delg-extract.")


def main() -> None:
    """Describes the query, searches, reranks, prints rank, score and path (or name), and makes the page.

    Raises:
      InputError: a flag is missing or does not fit, or the store was made with other settings.
    """
    from pathlib import Path

    from delg.common.errors import InputError
    from extraction.describing import describe
    from extraction.extractors.table import build_extractor
    from extraction.formats.checks import check_settings
    from extraction.images import BadImageError, ImageRef
    from extraction.settings import set_reading
    from extraction.store.encoding import as_stored
    from matching.lookup import find, parse_crop
    from matching.rerankers.table import build_reranker

    for name in ("query", "model", *(() if FLAGS.index and not FLAGS.rerank else ("features_dir",))):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is required: {FLAGS[name].help}")
    _check_output()
    ref = ImageRef(Path(FLAGS.query).stem, FLAGS.query, parse_crop(FLAGS.crop))
    reranker = build_reranker(FLAGS.rerank) if FLAGS.rerank else None
    store, index = _database()
    extractor = set_reading(build_extractor(FLAGS.model), exif=_reading(store, index).exif)
    if index is not None:
        index.check_queries(extractor.settings, f"Features by {FLAGS.model}")
    if store is not None:
        check_settings(
            extractor.settings, store.settings, f"Features by {FLAGS.model} and those in {FLAGS.features_dir}"
        )
    try:
        query = describe(extractor, ref)
    except BadImageError as error:
        raise InputError(f"The query {FLAGS.query} cannot be used: {error}.") from error
    if store is not None:
        query = as_stored(query, store.local_dtype)
    results = find(query, store, FLAGS.top_k, reranker, index)
    print("rank  score     image")
    for rank, result in enumerate(results, 1):
        print(f"{rank:4d}  {result.score:8.4f}  {result.path or result.name}")
    if FLAGS.output:
        _write_page((ref, query), results, store, index, reranker)


def _reading(store: "FeatureSource | None", index: "Searchable | None") -> "Reading":
    """How the database's images were read, as the query is then."""
    from extraction.images import Reading

    if store is not None:
        return Reading.of(store.settings)
    return Reading.of(index.manifest.settings if index is not None else {})


def _check_output() -> None:
    """Proves that the page can be written, before long work starts."""
    from pathlib import Path

    from delg.common.errors import InputError
    from delg.common.files import check_writable

    if bool(FLAGS.output) != bool(FLAGS.images_dir):
        raise InputError("--output and --images_dir go together: the page shows the photos of that folder.")
    if not FLAGS.output:
        return
    if not FLAGS.output.lower().endswith(".html"):
        raise InputError(f"--output expects a file ending in .html. Received: {FLAGS.output!r}")
    if not Path(FLAGS.images_dir).is_dir():
        raise InputError(f"The image folder {FLAGS.images_dir} does not exist or is not a folder.")
    check_writable(Path(FLAGS.output).parent)


def _write_page(
    query: "tuple[ImageRef, Features]",
    results: "Sequence[Result]",
    store: "FeatureSource | None",
    index: "Searchable | None",
    reranker: "Reranker | None",
) -> None:
    """Writes the page of the results."""
    from delg.common.files import write_text
    from evaluation.report.results import render_search, verifier

    images = len(index) if index is not None else len(store) if store is not None else 0
    names = ("query", "model", "features_dir", "index", "search_options", "rerank", "images_dir")
    crop = {"crop": ",".join(FLAGS.crop)} if FLAGS.crop else {}
    page = render_search(
        query,
        results,
        FLAGS.images_dir,
        searched=f"{images} images of {FLAGS.index or FLAGS.features_dir}",
        reranked=reranker is not None,
        verify=verifier(query[1], store, reranker),
        settings={name: FLAGS[name].value for name in names if FLAGS[name].value} | crop,
        reading=_reading(store, index),
    )
    write_text(FLAGS.output, page)
    print(f"page: {FLAGS.output}")


def _database() -> "tuple[FeatureSource | None, Searchable | None]":
    """The feature store and the index that the flags name."""
    from delg.common import spec
    from delg.common.errors import InputError
    from extraction.formats.table import open_features
    from matching.indexes.table import open_index

    if FLAGS.search_options and not FLAGS.index:
        raise InputError("--search_options goes with --index.")
    store = open_features(FLAGS.features_dir) if FLAGS.features_dir else None
    if not FLAGS.index:
        return store, None
    try:
        options = spec.parse(f"options({FLAGS.search_options or ''})")[1]
    except InputError as error:
        raise InputError(f"--search_options expects name=value, ... Received: {FLAGS.search_options!r}") from error
    index = open_index(FLAGS.index, **options)
    if store is not None:
        index.check_store(store, FLAGS.features_dir)
    return store, index
