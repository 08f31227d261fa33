"""A benchmark from images to report: check everything, extract what is missing, run, write.

Each stage lies on disk when it is done: feature stores in ``features/``, rows in ``results/``, the report last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation import stores, written
from evaluation.accuracy import inlier_accuracy
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.revisited import REVISITED, from_dataset
from evaluation.benchmarks.table import build_benchmark
from evaluation.landmarks.truth import load_homographies
from evaluation.ledger import Ledger, digest
from evaluation.overlays import matches_locally
from evaluation.report.model import JsonObject, Report, Row
from evaluation.rerank_rows import DEFAULT_RERANK, check_local, hyper_parameters, reranker_names, without_local
from evaluation.runner import Method, Outcome, Reranker, run
from evaluation.versions import versions
from matching.rerankers import build_reranker
from protos.errors import InputError
from protos.files import check_writable, sha256


@dataclass(frozen=True)
class Config:
    """What is asked for.

    Attributes:
      benchmark: text of the benchmark, ``landmarks`` or ``name(argument=value)``; may be None with a ground truth file.
      data_dir: its images and ground truth; with a ground truth file only the images, None for ``jpg`` beside it.
      output_dir: features, rows and report.
      model: model folder, or text of an extractor; None with existing stores.
      queries_dir: queries of a ``folders`` benchmark, if they lie apart.
      baselines: texts of extractors that are run beside the model.
      rerank: texts of the rerankers; None for :data:`evaluation.rerank_rows.DEFAULT_RERANK`, without those that
        match local features where the model under test has none.
      query_features_dir: existing features of the queries, a store or official files.
      index_features_dir: existing features of the database, likewise.
      features_dir: where features are kept, so that several reports share them; None for ``features`` in the output.
      dataset_file_path: ground truth of the revisited form, ``.pkl`` or ``.mat``, wherever it lies.
      local_dtype: how extracted local features are stored, one of :data:`extraction.storage.LOCAL_DTYPES`.
    """

    benchmark: str | None
    data_dir: str | None
    output_dir: str
    model: str | None = None
    queries_dir: str | None = None
    baselines: tuple[str, ...] = ()
    rerank: tuple[str, ...] | None = None
    query_features_dir: str | None = None
    index_features_dir: str | None = None
    features_dir: str | None = None
    dataset_file_path: str | None = None
    local_dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Plan:
    """A benchmark whose features are ready.

    Attributes:
      benchmark: queries, database and truths.
      methods: their features, of the model under test first.
      rerankers: row suffix to the reranker's text.
      ledgers: the finished rows of each method.
      folder: output.
      homographies: the true ones by image name; empty where the benchmark has none.
      homographies_sha256: of their file.
    """

    benchmark: Benchmark
    methods: list[Method]
    rerankers: dict[str, str]
    ledgers: list[Ledger]
    folder: Path
    homographies: Mapping[str, NDArray[np.float64]]
    homographies_sha256: str | None

    def build_rerankers(self) -> dict[str, Reranker]:
        """Fresh rerankers, which remember nothing."""
        return {name: build_reranker(text) for name, text in self.rerankers.items()}


def find_benchmark(config: Config) -> Benchmark:
    """The benchmark that is asked for, by its name and folder or by its ground truth file.

    Raises:
      InputError: neither or too much is given, an unknown name, or a ground truth that is missing or wrong.
    """
    path, text = config.dataset_file_path, config.benchmark
    if not path:
        for name in ("benchmark", "data_dir"):
            if not getattr(config, name):
                raise InputError(f"Expected --{name}, or --dataset_file_path.")
        return build_benchmark(str(text), str(config.data_dir), config.queries_dir)
    if text not in (None, *REVISITED) or config.queries_dir:
        raise InputError(
            f"--dataset_file_path goes with no --queries_dir, and with no --benchmark but {', '.join(REVISITED)}."
        )
    return from_dataset(path, config.data_dir, text)


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
    sources = stores.sources(config.model, config.baselines)
    if bool(config.index_features_dir) == bool(config.model):
        raise InputError("Expected either --model, or --index_features_dir with features that exist.")
    if config.query_features_dir and not config.index_features_dir:
        raise InputError("--query_features_dir goes with --index_features_dir, not with --model.")
    truth = chosen.homographies
    homographies = load_homographies(truth.parent) if truth else {}
    known = sha256(truth) if truth else None
    if sources:
        chosen.check_images()
    folder = check_writable(config.output_dir)
    features = check_writable(config.features_dir) if config.features_dir else folder / "features"
    extractors = stores.build(sources, config.local_dtype)
    methods = []
    if config.index_features_dir:
        methods.append(stores.opened(chosen, config.query_features_dir, config.index_features_dir))
    for name, extractor in extractors.items():
        methods.append(stores.extracted(name, extractor, chosen, features / name, config.local_dtype))
    for store in (methods[0].queries, methods[0].database):
        if store.bytes_per_image()["local"] == 0:
            if config.rerank is not None:
                check_local(rerankers, store.folder)
            rerankers = without_local(rerankers)
    ledgers = [Ledger(folder / "results", chosen, method, rerankers, known) for method in methods]
    return Plan(chosen, methods, rerankers, ledgers, folder, homographies, known)


def benchmark(config: Config, say: Callable[[str], None] = print) -> Report:
    """Runs a benchmark, or finds it finished.

    Args:
      config: what is asked for.
      say: is given the lines for the user.

    Returns:
      The report, which also lies in ``config.output_dir`` as report.json, report.md, metrics.txt and report.html.

    Raises:
      InputError: see :func:`prepare`.
    """
    plan = prepare(config)
    settings = _settings(config, plan)
    report = written.find_report(plan.folder, settings["fingerprint"])
    if report:
        say(f"{plan.folder / written.JSON}: the report of these features and rerankers is already complete.")
    else:
        report = _run(plan, settings, say)
    written.show(plan.folder, report, say)
    return report


def _settings(config: Config, plan: Plan) -> JsonObject:
    """What is recorded in the report."""
    chosen = plan.benchmark
    places = {
        "dataset_file_path": config.dataset_file_path,
        "data_dir": config.data_dir,
        "queries_dir": config.queries_dir or config.data_dir,
    }
    return {
        "benchmark": config.benchmark or chosen.name,
        **{name: place for name, place in places.items() if place},
        **_pictures(chosen),
        "queries": len(chosen.queries),
        "database": len(chosen.database),
        "queries_cropped": any(query.crop is not None for query in chosen.queries),
        "leave_one_out": chosen.leave_one_out,
        "queries_without_positives": {
            protocol: sum(len(truth.positives) == 0 for truth in truths)
            for protocol, truths in chosen.protocols.items()
        },
        "junk": "removed before reranking, per protocol",
        "model": config.model or config.index_features_dir,
        "rerank": {name: hyper_parameters(text) for name, text in plan.rerankers.items()},
        "local_dtype": {method.name: method.database.local_dtype for method in plan.methods},
        "features": {method.name: method.database.settings for method in plan.methods},
        "fingerprint": digest([[ledger.keys, ledger.accuracy_keys] for ledger in plan.ledgers]),
    }


def _pictures(benchmark: Benchmark) -> JsonObject:
    """Says in the report why it shows no pictures, where image files are missing."""
    try:
        benchmark.check_images()
    except InputError as error:
        return {"pictures": f"Missing images are not shown. {error}"}
    return {}


def _run(plan: Plan, settings: JsonObject, say: Callable[[str], None]) -> Report:
    """Searches, reranks, scores and writes."""
    chosen = plan.benchmark
    outcomes: list[Outcome] = []
    accuracy: dict[str, dict[str, float]] = {}
    for method, ledger in zip(plan.methods, plan.ledgers):
        rerankers = plan.build_rerankers()
        say(f"{method.name}: {len(chosen.queries)} queries, {len(chosen.database)} database images.")

        def finished(outcome: Outcome, ledger: Ledger = ledger) -> None:
            ledger.keep(outcome)
            say(f"{outcome.method}: {_summary(outcome)}")

        outcomes += run(chosen, method, rerankers, ledger.recall, finished)
        accuracy |= _measured(plan, method, ledger, rerankers)
    report = make_report(plan, outcomes, settings, accuracy)
    shown = zip(outcomes, [None, *plan.build_rerankers().values()])
    written.write(plan.folder, report, chosen, plan.methods[0], list(shown))
    return report


def _measured(
    plan: Plan, method: Method, ledger: Ledger, rerankers: Mapping[str, Reranker]
) -> dict[str, dict[str, float]]:
    """Inlier accuracy of the rows that match locally; what an earlier run has measured is not measured again."""
    found = {}
    for suffix, reranker in rerankers.items():
        if plan.homographies and matches_locally(method, reranker):
            name = method.row_name(suffix)
            found[name] = ledger.recall_accuracy(name) or inlier_accuracy(
                plan.benchmark, method, reranker, plan.homographies
            )
            ledger.keep_accuracy(name, found[name])
    return found


def _summary(outcome: Outcome) -> str:
    return "mAP " + ", ".join(f"{protocol} {100 * scores.map:.2f}" for protocol, scores in outcome.scores.items())


def make_report(
    plan: Plan, outcomes: Sequence[Outcome], settings: JsonObject, accuracy: dict[str, dict[str, float]]
) -> Report:
    """Puts the outcomes into a report, in percent."""
    recalled = plan.benchmark.any_recall
    rows = [
        Row(
            o.method,
            {p: s.percent() | (s.percent_any_recalls() if recalled else {}) for p, s in o.scores.items()},
            o.ms_per_query,
            o.bytes_per_image,
        )
        for o in outcomes
    ]
    names = [query.name for query in plan.benchmark.queries]
    first = plan.methods[0]
    skipped = {"database": first.database.skipped}
    if first.queries is not first.database:
        skipped = {"query": first.queries.skipped} | skipped
    return Report(
        benchmark=plan.benchmark.name,
        rows=rows,
        settings=settings,
        versions=versions(),
        queries={
            "names": names,
            "ap": {o.method: {p: (100 * s.ap).tolist() for p, s in o.scores.items()} for o in outcomes},
        },
        recalls={o.method: {p: s.percent_recalls() for p, s in o.scores.items()} for o in outcomes},
        inlier_accuracy=accuracy,
        skipped=skipped,
    )
