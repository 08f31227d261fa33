r"""Benchmarks a model: extracts features, searches, reranks, and writes a report with one page to open.

A run that was interrupted continues with the same command. Features that exist can be a feature store of delg-extract
or a folder of files NAME.delg_global (and NAME.delg_local), as the released programs write them; images then are used
for the page only.

Example:
  delg-benchmark --benchmark=landmarks --data_dir=landmarks --model=model --output_dir=report
  delg-benchmark --dataset_file_path=gnd_roxford5k.pkl --query_features_dir=query --index_features_dir=index \
    --output_dir=report
"""

from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "benchmark",
    None,
    "What is run: landmarks (made by delg-landmarks), roxford5k, rparis6k, or folders (your photos, a folder for each "
    "instance).",
)
flags.DEFINE_string(
    "dataset_file_path",
    None,
    "Ground truth of the revisited form, .pkl or .mat, instead of --benchmark; its images are looked for in --data_dir "
    "or, without it, in the folder jpg beside it.",
)
flags.DEFINE_string("data_dir", None, "Folder with the benchmark's images and ground truth.")
flags.DEFINE_string(
    "queries_dir", None, "Folder with the queries of --benchmark=folders; without it every image is a query in turn."
)
flags.DEFINE_string("model", None, "Model folder, or an extractor such as rootsift or 'rootsift(max_image_size=512)'.")
flags.DEFINE_string("baselines", "", "Extractors to run beside the model, from: untrained, rootsift, histogram.")
flags.DEFINE_string(
    "rerank",
    None,
    "Rerankers, such as 'ransac(top_k=100),superglobal(m=400, k=9)'; empty for none. Default: ransac, where there are "
    "local features, and superglobal.",
)
flags.DEFINE_string("query_features_dir", None, "Feature store or official files of the queries, instead of --model.")
flags.DEFINE_string("index_features_dir", None, "Feature store or official files of the database, instead of --model.")
flags.DEFINE_string(
    "features_dir",
    None,
    "Folder for the features, which several reports may share; without it they go to features in --output_dir.",
)
flags.DEFINE_string("output_dir", None, "Folder for rows, the report and, unless --features_dir is given, features.")


def main() -> None:
    """Reads the flags and runs the benchmark."""
    from evaluation.job import Config, benchmark
    from protos.errors import InputError
    from protos.spec import split

    for name in ("output_dir",) if FLAGS.dataset_file_path else ("benchmark", "data_dir", "output_dir"):
        if not FLAGS[name].value:
            raise InputError(f"Expected --{name}.")
    benchmark(
        Config(
            benchmark=FLAGS.benchmark or None,
            data_dir=FLAGS.data_dir or None,
            output_dir=FLAGS.output_dir,
            model=FLAGS.model or None,
            queries_dir=FLAGS.queries_dir or None,
            baselines=tuple(split(FLAGS.baselines)),
            rerank=None if FLAGS.rerank is None else tuple(split(FLAGS.rerank)),
            query_features_dir=FLAGS.query_features_dir or None,
            index_features_dir=FLAGS.index_features_dir or None,
            features_dir=FLAGS.features_dir or None,
            dataset_file_path=FLAGS.dataset_file_path or None,
        )
    )
