"""GLDv2 retrieval and recognition, from images or from features to submission files and scores.

Retrieval answers with the most similar index images. Recognition votes: each of the ``k`` first index images adds its
score to its class, and the class with the largest sum is the answer, with that sum as its score. With a reranker the
order and the scores are its own: inliers for ``ransac``, similarity and inliers for ``ransac(score='fused')``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from delg.common.errors import InputError
from delg.common.files import check_writable, sha256
from evaluation.benchmarks import gldv2
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.gldv2_votes import Labels, labels_of
from evaluation.landmark_answers import Task, answer
from evaluation.landmark_pictures import Shown
from evaluation.landmark_scores import Answers, score_rows
from evaluation.report.model import JsonObject, Report
from evaluation.run import compatibility, features
from evaluation.run.baselines import Floor, choose
from evaluation.run.method import FIRST_STAGE, Method
from evaluation.run.rerank_rows import check_local, hyper_parameters, reranker_names
from extraction.formats.table import open_features
from extraction.settings import set_reading

PREDICTIONS = "predictions"
NEIGHBOURS = 3
LEFT_OUT = "The row of RootSIFT + RANSAC is left out: the features under test exist already; --model adds it."


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      benchmark: ``gldv2_retrieval`` or ``gldv2_recognition``.
      output_dir: for ``predictions/ROW.csv`` and the report.
      data_dir: images and CSV files as released, see :mod:`evaluation.benchmarks.gldv2`; None from features.
      model: model folder, or text of an extractor; None from features.
      baselines: texts of extractors that are run beside the model; None for RootSIFT where
        :mod:`evaluation.run.baselines` adds it.
      query_features_dir: feature store of the test images, named by id (folders before it do not count).
      index_features_dir: of the index images, or for recognition of the training images.
      features_dir: where features are kept that are extracted here; None for ``features`` in the output.
      local_dtype: how their local features are stored.
      solution_file: of the challenge; None for that of the data folder.
      labels_file: for recognition, CSV ``id,landmark_id`` or ``landmark_id,images`` of the training images; likewise.
      neighbours: how many vote.
      rerank: texts of rerankers.
      ignore_non_landmarks: see :class:`evaluation.landmark_scores.Config`.
      allow_protocol_mismatch: run on features of different protocols; the report then says so.
    """

    benchmark: str
    output_dir: str
    data_dir: str | None = None
    model: str | None = None
    baselines: tuple[str, ...] | None = ()
    query_features_dir: str | None = None
    index_features_dir: str | None = None
    features_dir: str | None = None
    local_dtype: str = "float32"
    solution_file: str | None = None
    labels_file: str | None = None
    neighbours: int = NEIGHBOURS
    rerank: tuple[str, ...] = ()
    ignore_non_landmarks: bool = False
    allow_protocol_mismatch: bool = False


def run(config: Config, say: Callable[[str], None] = print) -> Report:
    """Extracts what is missing, searches, reranks, writes the answers, and scores them.

    Args:
      config: what is asked for.
      say: is given the lines for the user.

    Returns:
      The report, see :func:`evaluation.landmark_scores.score_rows`.

    Raises:
      InputError: a file, image or store is missing or wrong, or the stores were made differently.
    """
    _check(config)
    truth = gldv2.read(
        config.benchmark, config.data_dir, config.solution_file, config.labels_file, config.ignore_non_landmarks
    )
    rerankers = reranker_names(config.rerank)
    folder = check_writable(config.output_dir)
    methods, floor, mismatches, images = _methods(config, folder, truth)
    gldv2.check_ids(truth, methods[0].queries.names, methods[0].database.names)
    answers: dict[str, Answers] = {}
    if methods[0].database.bytes_per_image()["local"] == 0:
        check_local(rerankers, methods[0].database.folder)
    for method in methods:
        labels: Labels | None = None
        if truth.classes is not None:
            labels = labels_of(truth.classes, method.database.names, str(truth.labels_file))
        say(f"{method.name}: {len(method.queries)} queries, {len(method.database)} index images.")
        task = Task(method, floor.rerankers(method.name, rerankers), labels, config.neighbours)
        for row, spent in answer(task, folder / PREDICTIONS, say).items():
            path = str(folder / PREDICTIONS / f"{row}.csv")
            answers[row] = Answers(path, spent, method.database.bytes_per_image())
    reranked = floor.rerankers(floor.verified or FIRST_STAGE, rerankers)
    settings = _settings(config, methods, reranked) | ({"protocol_mismatch": mismatches} if mismatches else {})
    if truth.labels_file:
        settings |= {"labels_file": truth.labels_file, "labels_file_sha256": sha256(truth.labels_file)}
    settings |= {"rootsift_row": floor.left_out} if floor.left_out else {}
    return score_rows(
        truth.solution_file,
        answers,
        config.output_dir,
        ignore_non_landmarks=config.ignore_non_landmarks,
        settings=settings,
        skipped={"query": methods[0].queries.skipped, "index": methods[0].database.skipped},
        shown=Shown(images, methods[0], floor.rerankers(methods[0].name, rerankers)) if images else None,
        say=say,
    )


def _check(config: Config) -> None:
    """Proves that the parts of what is asked for go together."""
    if config.neighbours < 1:
        raise InputError(f"--neighbours expects 1 or more. Received: {config.neighbours}")
    if bool(config.index_features_dir) == bool(config.model):
        raise InputError("Expected either --model with --data_dir, or --index_features_dir with features that exist.")
    if config.model and not config.data_dir:
        raise InputError(f"{config.benchmark} expects --data_dir with --model.")
    if bool(config.query_features_dir) != bool(config.index_features_dir):
        raise InputError("Expected --query_features_dir and --index_features_dir together.")
    features.check_kept(config.model is not None, config.features_dir, config.local_dtype)
    if config.baselines and not config.model:
        raise InputError(f"--baselines={','.join(config.baselines)} goes with --model, not with features that exist.")


def _methods(
    config: Config, folder: Path, truth: gldv2.Truth
) -> tuple[list[Method], Floor, list[str], Benchmark | None]:
    """Features of the model under test and of the baselines, in which protocol they differ, and of which images."""
    if config.index_features_dir and config.query_features_dir:
        queries = open_features(config.query_features_dir)
        method = Method(FIRST_STAGE, queries, open_features(config.index_features_dir))
        whole = Benchmark(config.benchmark, [], [], {})
        found = [*compatibility.with_benchmark(whole, method), *compatibility.between(method.stores)]
        compatibility.check(found, config.allow_protocol_mismatch)
        return [method], Floor((), left_out=None if config.baselines == () else LEFT_OUT), found, None
    chosen = gldv2.images(config.benchmark, str(config.data_dir), truth)
    chosen.check_images()
    floor = choose(config.baselines, config.model, chosen)
    sources = features.sources(config.model, floor.baselines)
    place = check_writable(config.features_dir) if config.features_dir else folder / "features"
    extractors, texts = features.build(sources, config.local_dtype), features.own_texts(sources, config.features_dir)
    for extractor in extractors.values():
        set_reading(extractor, exif=features.exif_of(None, chosen))
    return (
        [
            features.extracted(name, extractor, chosen, place / name, config.local_dtype, text=texts.get(name))
            for name, extractor in extractors.items()
        ],
        floor,
        [],
        chosen,
    )


def _settings(config: Config, methods: list[Method], rerankers: dict[str, str]) -> JsonObject:
    """What the answers rest on, for the record."""
    return {
        "model": config.model or config.index_features_dir,
        **({"data_dir": config.data_dir} if config.data_dir else {}),
        **({"neighbours": config.neighbours} if config.benchmark == gldv2.RECOGNITION else {}),
        "queries": len(methods[0].queries),
        "database": len(methods[0].database),
        "rerank": {name: hyper_parameters(text) for name, text in rerankers.items()},
        "local_dtype": {method.name: method.database.local_dtype for method in methods},
        "features": {method.name: method.database.settings for method in methods},
        **compatibility.noted(methods[0]),
    }
