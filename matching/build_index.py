"""delg-index: builds an index of the global descriptors of a feature store, for delg-search --index.

The index lies in a folder or in Milvus: a path that ends in .db (embedded), or the URL of a server or a cluster, each
optionally followed by #collection. The same command continues a run that was stopped.

Example:
  delg-index --features_dir=features --output_dir=index --index='ivf_pq(nprobe=32)'
  delg-index --features_dir=features --output_dir=http://localhost:19530#photos
"""

from delg.common.options import define_flags, from_flags, require
from matching.options import IndexOptions

define_flags(IndexOptions)


def main() -> None:
    """Builds the index and prints its record.

    Raises:
      InputError: a flag is missing or does not fit, or the output holds something else.
    """
    from extraction.formats.table import open_features
    from matching.indexes.table import build_index

    options = from_flags(IndexOptions)
    require(options, ("features_dir", "output_dir"))
    index = build_index(open_features(str(options.features_dir)), str(options.output_dir), options.index)
    manifest = index.manifest
    size = f"{sum(manifest.files.values()) / 1e6:.1f} MB, " if manifest.files else ""
    print(
        f"{index.place}: {manifest.count} descriptors of dimension {manifest.dimension}, {manifest.index}, {size}"
        f"built in {manifest.seconds:.1f} s"
    )
