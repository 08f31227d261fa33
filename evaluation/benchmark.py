r"""Benchmarks a model: extracts features, searches, reranks, and writes a report with one page to open.

A run that was interrupted continues with the same command. Features that exist can be a feature store of delg-extract
or a folder of files NAME.delg_global (and NAME.delg_local), as the released programs write them; images then are used
for the page only.

Answers to the Google Landmarks Dataset v2 challenges are scored from their CSV files: recognition (GAP) or retrieval
(mAP@100), told from the columns of the solution.

Example:
  delg-benchmark --benchmark=landmarks --data_dir=landmarks --model=model --output_dir=report
  delg-benchmark --check --benchmark=roxford5k --data_dir=roxford5k
  delg-benchmark --dataset_file_path=gnd_roxford5k.pkl --query_features_dir=query --index_features_dir=index \
    --output_dir=report
  delg-benchmark --benchmark=gldv2_recognition --data_dir=gldv2 --model=model --rerank=ransac --output_dir=report
  delg-benchmark --solution_file=solution.csv --predictions_file=predictions.csv --output_dir=report
"""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evaluation.benchmarks.base import Benchmark

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "benchmark",
    None,
    "What is run: landmarks (made by delg-landmarks), roxford5k, rparis6k (+r1m: with distractors), instre, vpr (UTM "
    "coordinates in the file names), msls (its own layout), your photos: folders (one for each instance) or csv "
    "(path,label); gldv2_retrieval "
    "and gldv2_recognition.",
)
flags.DEFINE_string(
    "dataset_file_path",
    None,
    "Ground truth of the revisited form, .pkl, .mat or .json, instead of --benchmark; its images are looked for in "
    "--data_dir or, without it, in the folder jpg beside it.",
)
flags.DEFINE_string("data_dir", None, "Folder with the benchmark's images and ground truth.")
flags.DEFINE_string(
    "queries_dir", None, "Folder with the queries of folders, csv or vpr, where they lie apart from the database."
)
flags.DEFINE_string("model", None, "Model folder, or an extractor such as rootsift or 'rootsift(max_image_size=512)'.")
flags.DEFINE_string(
    "baselines",
    None,
    "Extractors to run beside the model, from: untrained, rootsift, histogram; empty for none. Default: on photos "
    "rootsift with ransac, unless the set is large or the features exist already.",
)
flags.DEFINE_string(
    "rerank",
    None,
    "Rerankers, such as 'ransac(top_k=100),superglobal(m=400, k=9)', or a chain, 'superglobal | ransac(top_k=50)'; "
    "empty for none. Default: ransac, where there are local features, and superglobal; of GLDv2 none.",
)
flags.DEFINE_enum(
    "local_dtype",
    "float32",
    ["float32", "float16", "uint8", "binary"],
    "How local features are written that are extracted here; binary keeps the signs of descriptors alone.",
)
flags.DEFINE_enum(
    "exif",
    None,
    ["apply", "ignore"],
    "Whether your own photos (folders, csv) are turned as their orientation tag says. Default: apply.",
)
flags.DEFINE_string("query_features_dir", None, "Feature store or official files of the queries, instead of --model.")
flags.DEFINE_string("index_features_dir", None, "Feature store or official files of the database, instead of --model.")
flags.DEFINE_string(
    "features_dir",
    None,
    "Folder for the features, which several reports may share; without it they go to features in --output_dir.",
)
flags.DEFINE_string(
    "distractors_dir",
    None,
    "Distractors of --benchmark=roxford5k+r1m and the like: their images with --model, else their feature store; they "
    "are streamed.",
)
flags.DEFINE_enum(
    "junk",
    "remove_before_rerank",
    ["remove_before_rerank", "keep"],
    "When junk leaves a ranking: before it is reranked, for each protocol (as DELG was released), or not until it is "
    "scored (as SuperGlobal was).",
)
flags.DEFINE_list(
    "predictions",
    [],
    "Formats that the rankings are also written in, to the folder predictions: trec (TREC runs), gldv2 (CSV of the "
    "GLDv2 retrieval challenge), msls (predictions of the MSLS evaluation), neighbours (pickled tensors that "
    "AMES, ELViS and LOCORE read).",
)
flags.DEFINE_integer("predictions_top_k", 100, "How many results of each query --predictions writes.")
flags.DEFINE_string(
    "published",
    None,
    "Which published model the model under test is meant to be, such as delg_r50_gldv1 or superglobal_r101; the report "
    "then shows the differences from its values.",
)
flags.DEFINE_bool(
    "allow_protocol_mismatch",
    False,
    "Run on features whose recorded protocol is not the benchmark's, or not the same for queries and database; the "
    "report says so.",
)
flags.DEFINE_bool(
    "check",
    False,
    "Only verify the data folder: files that are missing, extra, or not of the hash that its SHA256SUMS or, for ground "
    "truth, this package knows.",
)
flags.DEFINE_bool("write_sums", False, "Only write SHA256SUMS into --data_dir, for later checks.")
flags.DEFINE_string(
    "solution_file",
    None,
    "Solution of a GLDv2 challenge, CSV with id,landmarks,Usage (recognition) or id,images,Usage (retrieval); goes "
    "with --predictions_file and --output_dir.",
)
flags.DEFINE_string("predictions_file", None, "Answers to score, CSV with id,landmarks or id,images.")
flags.DEFINE_string(
    "labels_file",
    None,
    "CSV with id,landmark_id or landmark_id,images of the index images, whose classes vote in gldv2_recognition.",
)
flags.DEFINE_integer("neighbours", 3, "How many index images vote in gldv2_recognition.")
flags.DEFINE_bool(
    "ignore_non_landmarks",
    False,
    "In recognition, leave answers to images without a landmark out of the global average precision.",
)
flags.DEFINE_enum(
    "released_reading",
    None,
    ["recognition", "retrieval"],
    "Read --solution_file and --predictions_file as the released code of this task does, whatever their columns are "
    "called and whatever the fault: columns by their order, and two blanks between ids as an empty id.",
)
flags.DEFINE_string("output_dir", None, "Folder for rows, the report and, unless --features_dir is given, features.")


GLDV2 = ("gldv2_retrieval", "gldv2_recognition")
LANDMARK_FLAGS = ("solution_file", "predictions_file", "ignore_non_landmarks", "released_reading")  # any: scores files
SCORE_FLAGS = (*LANDMARK_FLAGS, "output_dir")
ONLY_GLDV2 = ("labels_file", "neighbours")
ONLY_RECOGNITION = (*ONLY_GLDV2, "ignore_non_landmarks")
CHECK_FLAGS = ("check", "write_sums", "benchmark", "data_dir")
NOT_GLDV2 = (
    "dataset_file_path",
    "queries_dir",
    "junk",
    "predictions",
    "predictions_top_k",
    "predictions_file",
    "released_reading",
    "published",
    "distractors_dir",
    "exif",
)


def main() -> None:
    """Reads the flags and runs the benchmark, or scores the answers to a challenge."""
    if FLAGS.benchmark == "gldv2_retrieval":
        _refuse(f"--benchmark={FLAGS.benchmark}", ONLY_RECOGNITION)
    if FLAGS.benchmark in GLDV2:
        (_check_landmarks if FLAGS.check or FLAGS.write_sums else _run_landmarks)()
    elif any(FLAGS[name].value for name in LANDMARK_FLAGS):
        _score_landmarks()
    elif FLAGS.check or FLAGS.write_sums:
        _check()
    else:
        _benchmark()


def _expect(*names: str) -> None:
    """Proves that flags are given."""
    from delg.common.errors import InputError

    for name in names:
        if not FLAGS[name].value:
            raise InputError(f"Expected --{name}.")


def _refuse(what: str, names: "Iterable[str]") -> None:
    """Proves that flags are not given, or as they are by default."""
    from delg.common.errors import InputError

    strange = [f"--{name}" for name in names if FLAGS[name].value and FLAGS[name].value != FLAGS[name].default]
    if strange:
        raise InputError(f"{what} goes with no {', '.join(strange)}.")


def _refuse_others(what: str, read: "Iterable[str]") -> None:
    """Proves that no other flags than those that are read are given."""
    own = [flag.name for flag in FLAGS.get_flags_for_module(__name__)]
    _refuse(what, [name for name in own if name not in read])


def _score_landmarks() -> None:
    """Scores the answers to a challenge."""
    from evaluation.landmark_scores import Config, score

    _expect("solution_file", "predictions_file", "output_dir")
    _refuse_others("--solution_file", SCORE_FLAGS)
    files = FLAGS.solution_file, FLAGS.predictions_file, FLAGS.output_dir
    score(Config(*files, FLAGS.ignore_non_landmarks, FLAGS.released_reading))


def _run_landmarks() -> None:
    """Answers a GLDv2 challenge and scores the answers."""
    from delg.common.spec import split
    from evaluation.landmark_run import Config, run

    _expect("output_dir")
    _refuse(f"--benchmark={FLAGS.benchmark}", NOT_GLDV2)
    run(
        Config(
            FLAGS.benchmark,
            FLAGS.output_dir,
            data_dir=FLAGS.data_dir or None,
            model=FLAGS.model or None,
            baselines=None if FLAGS.baselines is None else tuple(split(FLAGS.baselines)),
            query_features_dir=FLAGS.query_features_dir or None,
            index_features_dir=FLAGS.index_features_dir or None,
            features_dir=FLAGS.features_dir or None,
            local_dtype=FLAGS.local_dtype,
            solution_file=FLAGS.solution_file or None,
            labels_file=FLAGS.labels_file or None,
            neighbours=FLAGS.neighbours,
            rerank=tuple(split(FLAGS.rerank or "")),
            ignore_non_landmarks=FLAGS.ignore_non_landmarks,
            allow_protocol_mismatch=FLAGS.allow_protocol_mismatch,
        )
    )


def _check_landmarks() -> None:
    """Verifies the images of a GLDv2 task."""
    from evaluation.benchmarks import gldv2

    _refuse_others(_asked(), (*CHECK_FLAGS, "solution_file", "labels_file"))
    _expect("data_dir")
    task, data_dir = FLAGS.benchmark, FLAGS.data_dir
    truth = gldv2.read(task, data_dir, FLAGS.solution_file or None, FLAGS.labels_file or None)
    _verify(gldv2.images(task, data_dir, truth))


def _check() -> None:
    """Verifies a data folder, or writes what it is verified by."""
    from evaluation.benchmarks.table import build_benchmark
    from evaluation.data import check
    from evaluation.run.plan import DISTRACTORS

    _refuse_others(_asked(), (*CHECK_FLAGS, "queries_dir", "distractors_dir"))
    _expect("benchmark", "data_dir")
    if FLAGS.write_sums or not FLAGS.benchmark.endswith(DISTRACTORS):
        _refuse("--write_sums" if FLAGS.write_sums else f"--benchmark={FLAGS.benchmark}", ["distractors_dir"])
    name = FLAGS.benchmark.removesuffix(DISTRACTORS)
    _verify(build_benchmark(name, FLAGS.data_dir, FLAGS.queries_dir or None))
    if FLAGS.distractors_dir:
        check.report_distractors(FLAGS.distractors_dir)


def _asked() -> str:
    """Which flag asks for the data folder alone."""
    return "--check" if FLAGS.check else "--write_sums"


def _verify(benchmark: "Benchmark") -> None:
    """Writes the sums of a benchmark's files, or compares with them, or both."""
    from evaluation.data import check

    if FLAGS.write_sums:
        print(f"written: {check.write_sums(benchmark, FLAGS.data_dir)}")
    if FLAGS.check:
        check.report(benchmark, FLAGS.data_dir)


def _benchmark() -> None:
    """Runs a benchmark."""
    from delg.common.spec import split
    from evaluation.run.pipeline import benchmark
    from evaluation.run.plan import Config

    _expect(*(() if FLAGS.dataset_file_path else ("benchmark", "data_dir")), "output_dir")
    _refuse(f"--benchmark={FLAGS.benchmark}" if FLAGS.benchmark else "--dataset_file_path", ONLY_GLDV2)
    benchmark(
        Config(
            benchmark=FLAGS.benchmark or None,
            data_dir=FLAGS.data_dir or None,
            output_dir=FLAGS.output_dir,
            model=FLAGS.model or None,
            queries_dir=FLAGS.queries_dir or None,
            baselines=None if FLAGS.baselines is None else tuple(split(FLAGS.baselines)),
            rerank=None if FLAGS.rerank is None else tuple(split(FLAGS.rerank)),
            query_features_dir=FLAGS.query_features_dir or None,
            index_features_dir=FLAGS.index_features_dir or None,
            features_dir=FLAGS.features_dir or None,
            local_dtype=FLAGS.local_dtype,
            dataset_file_path=FLAGS.dataset_file_path or None,
            junk=FLAGS.junk,
            predictions=tuple(FLAGS.predictions),
            predictions_top_k=FLAGS.predictions_top_k,
            distractors_dir=FLAGS.distractors_dir or None,
            published=FLAGS.published or None,
            exif=FLAGS.exif,
            allow_protocol_mismatch=FLAGS.allow_protocol_mismatch,
        )
    )
