"""Finds the database images most like a query image, from a feature store; no labels are needed.

delg-search --query=query.jpg --model=MODEL_DIR --features_dir=STORE_DIR --top_k=10 --rerank=superglobal
"""

from absl import flags

FLAGS = flags.FLAGS

flags.DEFINE_string("query", None, "The query image.")
flags.DEFINE_string("model", None, "The model folder, or extractor such as rootsift, that the store was made with.")
flags.DEFINE_string("features_dir", None, "The database: a feature store made by delg-extract.")
flags.DEFINE_integer("top_k", 10, "How many images to print.", lower_bound=1)
flags.DEFINE_string("rerank", None, "Second stage, such as ransac, 'ransac(top_k=200)' or superglobal.")
flags.DEFINE_list("crop", None, "The query's region x1,y1,x2,y2 in pixels of the image.")


def main() -> None:
    """Describes the query, searches, reranks, prints rank, name and score.

    Raises:
      InputError: a flag is missing or does not fit, or the store was made with other settings.
    """
    from pathlib import Path

    from extraction.extractors import build_extractor
    from extraction.images import BadImageError, ImageRef
    from extraction.pipeline import describe
    from extraction.storage import as_stored
    from extraction.store import FeatureStore, check_settings
    from matching.lookup import find, parse_crop
    from matching.rerankers import build_reranker
    from protos.errors import InputError

    for name in ("query", "model", "features_dir"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is required: {FLAGS[name].help}")
    ref = ImageRef(Path(FLAGS.query).stem, FLAGS.query, parse_crop(FLAGS.crop))
    reranker = build_reranker(FLAGS.rerank) if FLAGS.rerank else None
    store = FeatureStore.open(FLAGS.features_dir)
    extractor = build_extractor(FLAGS.model)
    check_settings(extractor.settings, store.settings, f"Features by {FLAGS.model} and those in {FLAGS.features_dir}")
    try:
        query = as_stored(describe(extractor, ref), store.local_dtype)
    except BadImageError as error:
        raise InputError(f"The query {FLAGS.query} cannot be used: {error}.") from error
    print("rank  score     name")
    for rank, (name, score) in enumerate(find(query, store, FLAGS.top_k, reranker), 1):
        print(f"{rank:4d}  {score:8.4f}  {name}")
