"""The options of ``delg-benchmark``. No heavy imports."""

from dataclasses import dataclass

from delg.common.options import option
from extraction.images import EXIF
from extraction.store.encoding import LOCAL_DTYPES

DISTRACTORS = "+r1m"  # end of the names of benchmarks with distractors
JUNK = ("remove_before_rerank", "keep")  # as DELG was released, and as SuperGlobal was
ARGUMENTS = (  # options that benchmarks take as arguments
    "data_dir",
    "queries_dir",
    "solution_file",
    "labels_file",
    "neighbours",
    "ignore_non_landmarks",
)
FORMATS = ("gldv2", "msls", "trec", "neighbours")


@dataclass(frozen=True)
class BenchmarkOptions:
    """One field for each flag."""

    benchmark: str | None = option(
        None,
        "Benchmark: landmarks (made by delg-landmarks), roxford5k, rparis6k (+r1m: with distractors), instre, vpr (UTM "
        "coordinates in the file names), msls (its own layout), gldv2_retrieval, gldv2_recognition; your photos: "
        "folders (one for each instance) or csv (path,label); or module:Class of your own.",
        subject="Benchmark",
    )
    data_dir: str | None = option(None, "Folder of the benchmark's images and ground truth.")
    dataset_file_path: str | None = option(
        None,
        "Ground truth of the revisited form, .pkl, .mat or .json, instead of --benchmark; its images are looked for in "
        "--data_dir or, without it, in the folder jpg beside the file.",
    )
    queries_dir: str | None = option(
        None, "Folder of the queries of folders, csv or vpr, where they lie apart from the database."
    )
    distractors_dir: str | None = option(
        None,
        "Distractors of --benchmark=roxford5k+r1m and the like: their images with --model, else their feature store; "
        "they are streamed.",
    )
    model: str | None = option(
        None,
        "Model folder, or an extractor such as rootsift or 'rootsift(max_image_size=512)'. Default: auto, which needs "
        "no training, unless --index_features_dir names features.",
        subject="Methods",
    )
    baselines: tuple[str, ...] | None = option(
        None,
        "Extractors to run beside the model, from: untrained, rootsift, histogram; empty for none. Default: on photos "
        "rootsift with ransac, unless the set is large or the features exist already.",
    )
    rerank: tuple[str, ...] | None = option(
        None,
        "Rerankers, such as 'ransac(top_k=100),superglobal(m=400, k=9)', or a chain, 'superglobal | ransac(top_k=50)'; "
        "empty for none. Default: ransac, where there are local features, and superglobal; of GLDv2 none.",
    )
    junk: str = option(
        JUNK[0],
        "When junk leaves a ranking: before it is reranked, for each protocol (as DELG was released), or not until it "
        "is scored (as SuperGlobal was).",
        choices=JUNK,
    )
    features_dir: str | None = option(
        None,
        "Folder of extracted features, which several reports may share. Default: features in --output_dir.",
        irrelevant=True,
        subject="Features",
    )
    query_features_dir: str | None = option(
        None, "Features of the queries, of any format that delg-features reads, instead of --model."
    )
    index_features_dir: str | None = option(
        None, "Features of the database, of any format that delg-features reads, instead of --model."
    )
    local_dtype: str | None = option(
        None,
        "Storage of local features that are extracted here; binary keeps the signs of descriptors alone. Default: the "
        "extractor's own, uint8 of RootSIFT and float32 of models.",
        choices=LOCAL_DTYPES,
    )
    exif: str | None = option(
        None,
        "Whether your own photos (folders, csv) are turned as their orientation tag says. Default: apply.",
        choices=tuple(EXIF),
    )
    allow_protocol_mismatch: bool = option(
        False,
        "Run on features whose recorded protocol is not the benchmark's, or not the same for queries and database; the "
        "report says so.",
    )
    output_dir: str | None = option(
        None,
        "Folder of rows, the report and, unless --features_dir is given, features.",
        irrelevant=True,
        subject="Output",
    )
    predictions: tuple[str, ...] = option(
        (),
        "Formats that the rankings are also written in, to the folder predictions: trec (TREC runs), gldv2 (CSV of the "
        "GLDv2 retrieval challenge), msls (predictions of the MSLS evaluation), neighbours (pickled tensors that "
        "AMES, ELViS and LOCORE read).",
        choices=FORMATS,
    )
    predictions_top_k: int = option(100, "How many results of each query --predictions writes.", lower_bound=1)
    published: str | None = option(
        None,
        "Which published model the model under test is meant to be, such as delg_r50_gldv1 or superglobal_r101; the "
        "report then shows the differences from its values.",
    )
    solution_file: str | None = option(
        None,
        "Solution of a GLDv2 challenge, CSV with id,landmarks,Usage (recognition) or id,images,Usage (retrieval).",
        subject="Google Landmarks v2",
    )
    labels_file: str | None = option(
        None,
        "CSV with id,landmark_id or landmark_id,images of the index images, whose classes vote in gldv2_recognition.",
    )
    neighbours: int | None = option(None, "How many index images vote in gldv2_recognition. Default: 3.", lower_bound=1)
    ignore_non_landmarks: bool = option(
        False, "In recognition, leave predictions for images without a landmark out of the global average precision."
    )
    predictions_file: str | None = option(
        None, "Only score these predictions against --solution_file: CSV with id,landmarks or id,images."
    )
    released_reading: str | None = option(
        None,
        "Read --solution_file and --predictions_file as the released code of this task does, whatever the names of "
        "their columns and whatever the fault: columns by their order, and two blanks between ids as an empty id.",
        choices=("recognition", "retrieval"),
    )
    check: bool = option(
        False,
        "Only verify the data folder: files that are missing, extra, or not of the hash that its SHA256SUMS or, for "
        "ground truth, this package knows.",
        irrelevant=True,
        subject="Files",
    )
    write_sums: bool = option(False, "Only write SHA256SUMS into --data_dir, for later checks.", irrelevant=True)
