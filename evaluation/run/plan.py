"""What a benchmark is asked for, checked, and its features made ready."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import check_writable, sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.revisited import REVISITED, from_dataset
from evaluation.benchmarks.table import build_benchmark
from evaluation.predictions.files import Predictions
from evaluation.run import compatibility
from evaluation.run import features as stores
from evaluation.run.baselines import Floor, choose
from evaluation.run.distractors import check_head, check_images
from evaluation.run.method import FIRST_STAGE, JUNK, Method
from evaluation.run.published_protocol import Claim, with_published
from evaluation.run.published_values import check_model
from evaluation.run.rerank_rows import DEFAULT_RERANK, check_local, reranker_names, without_local
from evaluation.run.result_cache import Ledger
from evaluation.synthetic.truth import load_homographies
from extraction.extractors.base import Extractor
from extraction.images import list_images
from extraction.settings import set_reading
from matching.rerankers.base import Reranker
from matching.rerankers.table import build_reranker

DISTRACTORS = "+r1m"


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      benchmark: text of the benchmark, ``landmarks`` or ``name(argument=value)``; may be None with a ground truth file.
      data_dir: its images and ground truth; with a ground truth file only the images, None for ``jpg`` beside it.
      output_dir: features, rows and report.
      model: model folder, or text of an extractor; None with existing stores.
      queries_dir: queries of a ``folders`` benchmark, if they lie apart.
      baselines: texts of extractors that are run beside the model; None for RootSIFT where
        :mod:`evaluation.run.baselines` adds it.
      rerank: texts of the rerankers; None for :data:`evaluation.run.rerank_rows.DEFAULT_RERANK`, without those that
        match local features where the model under test has none.
      query_features_dir: existing features of the queries, a store or official files.
      index_features_dir: existing features of the database, likewise.
      features_dir: where features are kept, so that several reports share them; None for ``features`` in the output.
      dataset_file_path: ground truth of the revisited form, ``.pkl`` or ``.mat``, wherever it lies.
      local_dtype: how extracted local features are stored, one of :data:`extraction.store.encoding.LOCAL_DTYPES`.
      junk: when junk leaves a ranking, one of :data:`evaluation.run.runner.JUNK`.
      predictions: formats that rankings are written in, from :data:`evaluation.predictions.files.FORMATS`.
      predictions_top_k: how many results of each query are written.
      allow_protocol_mismatch: run on features whose recorded protocol is another one
        (:mod:`evaluation.run.compatibility`); the report then says so.
      distractors_dir: features of the distractors of ``NAME+r1m``; their images where a model is given.
      published: which of :data:`evaluation.run.published_values.MODELS` the model under test is meant to be.
      exif: ``"apply"`` or ``"ignore"`` the orientation tag of your own photos; None to apply, or as
        features that exist.
    """

    benchmark: str | None
    data_dir: str | None
    output_dir: str
    model: str | None = None
    queries_dir: str | None = None
    baselines: tuple[str, ...] | None = ()
    rerank: tuple[str, ...] | None = None
    query_features_dir: str | None = None
    index_features_dir: str | None = None
    features_dir: str | None = None
    dataset_file_path: str | None = None
    local_dtype: str = "float32"
    junk: str = JUNK[0]
    predictions: tuple[str, ...] = ()
    predictions_top_k: int = 100
    allow_protocol_mismatch: bool = False
    published: str | None = None
    distractors_dir: str | None = None
    exif: str | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A benchmark whose features are ready.

    Attributes:
      benchmark: queries, database and truths.
      methods: their features, of the model under test first.
      rerankers: row suffix to the reranker's text, of the model under test.
      floor: the baselines, one of which may be reranked by RANSAC besides.
      ledgers: the finished rows of each method.
      folder: output.
      homographies: the true ones by image name; empty where the benchmark has none.
      junk: when junk leaves a ranking.
      predictions: writes the rankings; None where they are not asked for.
      mismatches: what the features' recorded protocol does not share with the benchmark's, in sentences.
    """

    benchmark: Benchmark
    methods: list[Method]
    rerankers: dict[str, str]
    floor: Floor
    ledgers: list[Ledger]
    folder: Path
    homographies: Mapping[str, NDArray[np.float64]]
    junk: str
    predictions: Predictions | None
    mismatches: tuple[str, ...]

    @property
    def all_rerankers(self) -> dict[str, str]:
        """The rerankers of all methods."""
        return self.floor.rerankers(self.floor.verified or FIRST_STAGE, self.rerankers)

    def written(self, row: str) -> bool:
        """Whether a row's rankings are on disk, or are not asked for."""
        return self.predictions is None or self.predictions.complete(row, list(self.benchmark.protocols))

    def build_rerankers(self, method: str = FIRST_STAGE) -> dict[str, Reranker]:
        """Fresh rerankers of a method, which remember nothing."""
        return {name: build_reranker(text) for name, text in self.floor.rerankers(method, self.rerankers).items()}


def find_benchmark(config: Config) -> Benchmark:
    """The benchmark that is asked for, by its name and folder or by its ground truth file.

    Raises:
      InputError: neither or too much is given, an unknown name, or a ground truth that is missing or wrong.
    """
    path, (name, more, rest) = config.dataset_file_path, (config.benchmark or "").partition(DISTRACTORS)
    if not path:
        for flag in ("benchmark", "data_dir"):
            if not getattr(config, flag):
                raise InputError(f"Expected --{flag}, or --dataset_file_path.")
    elif name not in ("", *REVISITED) or config.queries_dir:
        raise InputError(
            f"--dataset_file_path goes with no --queries_dir, and with no --benchmark but {', '.join(REVISITED)}, "
            f"with or without {DISTRACTORS}."
        )
    if rest or (more and not name):
        raise InputError(f"Expected --benchmark=NAME{DISTRACTORS}. Received: {config.benchmark}")
    _check_distractors(config, bool(more))
    if path:
        chosen = from_dataset(path, config.data_dir, name or None)
    else:
        chosen = build_benchmark(name, str(config.data_dir), config.queries_dir)
    return replace(chosen, name=chosen.name + more)


def prepare(config: Config) -> Plan:
    """Checks what is asked for and extracts the features that are missing.

    Args:
      config: what is asked for.

    Returns:
      What is to be run.

    Raises:
      InputError: a wrong name, argument, folder or file; before any work where it can be known then.
    """
    chosen = find_benchmark(config)
    rerankers = reranker_names(DEFAULT_RERANK if config.rerank is None else config.rerank)
    for name, text in rerankers.items() if config.distractors_dir else ():
        check_head(build_reranker(text).top_k, name)
    floor = choose(config.baselines, config.model, chosen, bool(config.distractors_dir))
    sources = stores.sources(config.model, floor.baselines)
    _check(config, chosen)
    stores.check_kept(bool(sources), config.features_dir, config.local_dtype)
    truth = chosen.homographies
    homographies = load_homographies(truth.parent) if truth else {}
    if sources:
        chosen.check_images()
        if config.distractors_dir:
            check_images(chosen, list_images(config.distractors_dir), config.distractors_dir)
    folder = check_writable(config.output_dir)
    written = Predictions.asked(folder, config.predictions, config.predictions_top_k, chosen)
    features = check_writable(config.features_dir) if config.features_dir else folder / "features"
    extractors = stores.build(sources, config.local_dtype)
    texts = stores.own_texts(sources, config.features_dir)
    methods, mismatches = _methods(config, chosen, extractors, features, rerankers, texts=texts)
    for store in methods[0].stores:
        if store.bytes_per_image()["local"] == 0:
            if config.rerank is not None:
                check_local(rerankers, store.folder)
            rerankers = without_local(rerankers)
    basis = [config.junk, written.identity() if written else None]
    known = sha256(truth) if truth else None
    ledgers = [
        Ledger(
            folder / "results",
            chosen,
            method,
            {name: build_reranker(text).identity() for name, text in floor.rerankers(method.name, rerankers).items()},
            homographies=known,
            asked=basis,
        )
        for method in methods
    ]
    return Plan(
        chosen, methods, rerankers, floor, ledgers, folder, homographies, config.junk, written, tuple(mismatches)
    )


def _methods(
    config: Config,
    chosen: Benchmark,
    extractors: Mapping[str, Extractor],
    features: Path,
    rerankers: Mapping[str, str],
    *,
    texts: Mapping[str, str],
) -> tuple[list[Method], list[str]]:
    """Features of the model under test, opened or extracted, and of the baselines; and in which protocol they differ.

    Raises:
      InputError: a protocol is another one and that is not allowed, before anything is extracted.
    """
    methods: list[Method] = []
    mismatches: list[str] = []
    if config.index_features_dir:
        given = stores.opened(chosen, config.query_features_dir, config.index_features_dir, config.distractors_dir)
        methods.append(given)
        mismatches = [*compatibility.with_benchmark(chosen, given), *compatibility.between(given.stores)]
        claims = {f"the feature store {store.folder}": store.settings for store in given.stores}
        local = given.database.bytes_per_image()["local"] > 0
        exif = stores.exif_of(config.exif, chosen, given.database)
    else:
        exif = stores.exif_of(config.exif, chosen)
        claims = {f"--model={config.model}": extractors[FIRST_STAGE].settings}
        local = "local" in extractors[FIRST_STAGE].heads
    claim = Claim(claims, local, config.junk, rerankers)
    mismatches += with_published(config.published, chosen.name, claim)
    compatibility.check(mismatches, config.allow_protocol_mismatch)
    for name, extractor in extractors.items():
        set_reading(extractor, exif=exif)
        method = stores.extracted(name, extractor, chosen, features / name, config.local_dtype, text=texts.get(name))
        matched = rerankers.keys() > without_local(rerankers).keys()
        more = stores.with_distractors(method, extractor, config.distractors_dir, config.local_dtype, local=matched)
        methods.append(more)
    return methods, mismatches


def _check_distractors(config: Config, wanted: bool) -> None:
    """Proves that distractors are given where the benchmark has some, and only there."""
    if wanted and not config.distractors_dir:
        raise InputError(f"--benchmark={config.benchmark} expects --distractors_dir.")
    if config.distractors_dir and not wanted:
        received = f" Received: {config.benchmark}" if config.benchmark else ""
        raise InputError(f"--distractors_dir goes with --benchmark=NAME{DISTRACTORS}.{received}")
    if wanted and config.index_features_dir and config.baselines:
        raise InputError(
            f"--baselines={','.join(config.baselines)} goes with the photos of the distractors; --distractors_dir has "
            "their features, as --index_features_dir those of the database."
        )
    if wanted and config.predictions:
        raise InputError("--predictions goes with no distractors; their names are not ranked to the end.")


def _check(config: Config, chosen: Benchmark) -> None:
    """Proves that the parts of what is asked for go together."""
    if bool(config.index_features_dir) == bool(config.model):
        raise InputError("Expected either --model, or --index_features_dir with features that exist.")
    if config.query_features_dir and not config.index_features_dir:
        raise InputError("--query_features_dir goes with --index_features_dir, not with --model.")
    check_model(config.published, chosen.name)
    if not config.predictions and not any(len(t.positives) for truths in chosen.protocols.values() for t in truths):
        raise InputError(f"No query of {chosen.name} has a right image, so nothing is scored; expected --predictions.")
    if config.junk not in JUNK:
        raise InputError(f"Unknown --junk={config.junk}; the choices are {', '.join(JUNK)}.")
    if config.junk != JUNK[0] and any(
        query.path == chosen.database[row].path
        for truths in chosen.protocols.values()
        for query, truth in zip(chosen.queries, truths)
        for row in truth.junk
    ):
        raise InputError(f"--junk={config.junk} is of no use here: the junk of {chosen.name} holds the query itself.")
