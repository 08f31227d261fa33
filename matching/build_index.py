"""delg-index: builds an index of the global descriptors of a feature store, for delg-search --index.

It lies in a folder or in Milvus: a path that ends in .db (embedded), or the URL of a server or a cluster, each
optionally followed by #collection. A run that was stopped continues with the same command.

Example:
  delg-index --features_dir=features --output_dir=index --index='ivf_pq(nprobe=32)'
  delg-index --features_dir=features --output_dir=http://localhost:19530#photos
"""

from absl import flags

FLAGS = flags.FLAGS

flags.DEFINE_string("features_dir", None, "The feature store, made by delg-extract.")
flags.DEFINE_string("output_dir", None, "Folder of the index; or Milvus: a path that ends in .db, or a URL.")
flags.DEFINE_string(
    "index",
    None,
    'Kind of index: exact(dtype="float16"), flat, ivf_pq, ivf_rabitq, ivf_sq, hnsw, binary, faiss(factory="..."), '
    'each with its settings in parentheses; in Milvus milvus(index_type="HNSW", params={...}). Default: exact, milvus.',
)


def main() -> None:
    """Builds the index and says what it is.

    Raises:
      InputError: a flag is missing or does not fit, or the output holds something else.
    """
    from delg.common.errors import InputError
    from extraction.formats.table import open_features
    from matching.indexes.table import build_index

    for name in ("features_dir", "output_dir"):
        if not FLAGS[name].value:
            raise InputError(f"--{name} is required: {FLAGS[name].help}")
    made = build_index(open_features(FLAGS.features_dir), FLAGS.output_dir, FLAGS.index)
    manifest = made.manifest
    size = f"{sum(manifest.files.values()) / 1e6:.1f} MB, " if manifest.files else ""
    print(
        f"{made.place}: {manifest.count} descriptors of dimension {manifest.dimension}, {manifest.index}, {size}"
        f"built in {manifest.seconds:.1f} s"
    )
