"""Runs a benchmark from options to report: checks the options, extracts missing features, searches, reranks, writes.

Each stage is on disk when it is done: feature stores in ``features/``, rows in ``results/``, the report last.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from delg.common.errors import InputError
from delg.common.files import atomic_path, check_writable, sha256
from delg.common.options import check, require
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import FIRST_STAGE, Alignment, Method, RowResult
from evaluation.benchmarks.revisited import REVISITED, from_dataset
from evaluation.benchmarks.table import benchmark_of
from evaluation.options import DISTRACTORS, JUNK, BenchmarkOptions
from evaluation.predictions.files import Predictions
from evaluation.report import files, text
from evaluation.report.model import JsonObject, Report
from evaluation.report.pairs import geometric
from evaluation.run import compatibility, features
from evaluation.run.assemble import make_report, make_settings
from evaluation.run.baselines import choose
from evaluation.run.distractors import check_images, check_top_k
from evaluation.run.inliers import inlier_accuracy
from evaluation.run.plan import PREDICTIONS, Extracted, Plan
from evaluation.run.published_protocol import Claim, with_published
from evaluation.run.published_values import check_model
from evaluation.run.rerank_rows import check_local, global_only, reranker_names
from evaluation.run.result_cache import ResultCache
from evaluation.run.search import Observed, run
from evaluation.synthetic.truth import load_homographies
from extraction.extractors.table import AUTO, resolved
from extraction.images import list_images
from extraction.settings import set_reading
from matching.rerankers.base import Reranker
from matching.rerankers.table import build_reranker


def benchmark(options: BenchmarkOptions, say: Callable[[str], None] = print) -> Report:
    """Runs a benchmark, or shows the finished report.

    Args:
      options: options of the command.
      say: called with each line for the user.

    Returns:
      The report, also written to ``options.output_dir`` as report.json, report.md, metrics.txt and report.html.

    Raises:
      InputError: a wrong name, argument, folder or file; raised before any work where possible.
    """
    extracted = extract(validate(options))
    settings = make_settings(extracted)
    cached = [extracted.finished_row(cache, row) for cache in extracted.caches for row in cache.keys]
    result = files.find_report(extracted.folder, settings["fingerprint"]) if all(cached) else None
    if result:
        for row in filter(None, cached):
            say(f"{_line(row)} (cached)")
        say(f"{extracted.folder / files.JSON}: the report of these features and rerankers is already complete.")
    else:
        rows, accuracy = search(extracted, say)
        result = report(extracted, rows, settings, accuracy)
    files.show(extracted.folder, result, say)
    return result


def validate(options: BenchmarkOptions) -> Plan:
    """Checks the options, and the data as far as possible before any work.

    Raises:
      InputError: a wrong name, argument, folder or file, or options that cannot be combined.
    """
    check(options)
    dataset = find_benchmark(options)
    rerankers = reranker_names(dataset.default_rerank if options.rerank is None else options.rerank)
    for name, reranker in rerankers.items() if options.distractors_dir else ():
        check_top_k(build_reranker(reranker).top_k, name)
    if options.index_features_dir and options.model:
        raise InputError("Expected either --model, or --index_features_dir with features that exist.")
    if not options.index_features_dir:
        options = replace(options, model=resolved(options.model or AUTO))
    if options.query_features_dir and not options.index_features_dir:
        raise InputError("--query_features_dir cannot be combined with --model, but with --index_features_dir.")
    if options.model or options.baselines:
        dataset = dataset.listed()
        dataset.check_images()
    baselines = choose(options.baselines, options.model, dataset, bool(options.distractors_dir))
    sources = features.sources(options.model, baselines.texts)
    check_model(options.published, dataset.name)
    _check_junk(options, dataset)
    features.check_extraction_options(bool(sources), options.features_dir, options.local_dtype)
    if sources and options.distractors_dir:
        check_images(dataset, list_images(options.distractors_dir), options.distractors_dir)
    require(options, ["output_dir"])
    truth = dataset.homographies
    homographies = load_homographies(truth.parent) if truth else {}
    folder = check_writable(str(options.output_dir))
    predictions = None
    if options.predictions:
        formats = tuple(sorted(set(options.predictions)))
        predictions = Predictions(folder / PREDICTIONS, formats, options.predictions_top_k)
        predictions.check(dataset)
    extractors = features.build(sources, options.local_dtype)
    return Plan(options, dataset, rerankers, baselines, extractors, folder, predictions, homographies)


def find_benchmark(options: BenchmarkOptions) -> Benchmark:
    """The benchmark of the options, by its name and folder or by its ground truth file.

    Raises:
      InputError: neither is set, options contradict each other, the name is unknown, or the ground truth is missing or
        wrong.
    """
    path, (name, suffix, rest) = options.dataset_file_path, (options.benchmark or "").partition(DISTRACTORS)
    if not path and not options.benchmark:
        raise InputError("Expected --benchmark, or --dataset_file_path.")
    if path and (name not in ("", *REVISITED) or options.queries_dir):
        raise InputError(
            f"--dataset_file_path cannot be combined with --queries_dir, nor with a --benchmark but "
            f"{', '.join(REVISITED)}, with or without {DISTRACTORS}."
        )
    if rest or (suffix and not name):
        raise InputError(f"Expected --benchmark=NAME{DISTRACTORS}. Received: {options.benchmark}")
    _check_distractors(options, bool(suffix))
    dataset = from_dataset(path, options.data_dir, name or None) if path else benchmark_of(name, options)
    if suffix and dataset.depth is not None:
        raise InputError(f"--benchmark={name} measures the first results alone and has no distractors ({DISTRACTORS}).")
    return replace(dataset, name=dataset.name + suffix)


def extract(plan: Plan) -> Extracted:
    """Opens or extracts the features of the model under test, and extracts the features of the baselines.

    Raises:
      InputError: features of another protocol, unless the user allows a mismatch; raised before any extraction.
    """
    options, dataset, rerankers = plan.options, plan.benchmark, plan.rerankers
    opened: Method | None = None
    mismatches: list[str] = []
    if options.index_features_dir:
        opened, dataset = features.opened(
            dataset, options.query_features_dir, options.index_features_dir, options.distractors_dir
        )
        if plan.predictions and dataset is not plan.benchmark:
            plan.predictions.check(dataset)  # names are known now
        mismatches = [*compatibility.with_benchmark(dataset, opened), *compatibility.between(opened.stores)]
        claims = {f"the feature store {store.folder}": store.settings for store in opened.stores}
        local = opened.database.bytes_per_image()["local"] > 0
    else:
        claims = {f"--model={options.model}": plan.extractors[FIRST_STAGE].settings}
        local = "local" in plan.extractors[FIRST_STAGE].heads
    mismatches += with_published(options.published, dataset.name, Claim(claims, local, options.junk, rerankers))
    exif = features.exif_of(options.exif, dataset, opened.database if opened else None)
    compatibility.check(mismatches, options.allow_protocol_mismatch)
    methods = [*([opened] if opened else []), *(_extracted(plan, name, exif) for name in plan.extractors)]
    for store in methods[0].stores:
        if store.bytes_per_image()["local"] == 0:
            if options.rerank is not None:
                check_local(rerankers, store.folder)
            rerankers = global_only(rerankers)
    extracted = Extracted(
        **{**vars(plan), "benchmark": dataset, "rerankers": rerankers},
        methods=tuple(methods),
        mismatches=tuple(mismatches),
    )
    return replace(extracted, caches=tuple(_cache(extracted, method) for method in methods))


def _extracted(plan: Plan, name: str, exif: str) -> Method:
    """Features of one extractor; features on disk are reused."""
    options, extractor = plan.options, plan.extractors[name]
    set_reading(extractor, exif=exif)
    folder = check_writable(options.features_dir) if options.features_dir else plan.folder / "features"
    texts = features.own_texts(features.sources(options.model, plan.baselines.texts), options.features_dir)
    method = features.extracted(
        name, extractor, plan.benchmark, folder / name, options.local_dtype, text=texts.get(name)
    )
    matched = plan.rerankers.keys() > global_only(plan.rerankers).keys()
    return features.with_distractors(method, extractor, options.distractors_dir, options.local_dtype, local=matched)


def _cache(extracted: Extracted, method: Method) -> ResultCache:
    """The result cache of a method."""
    truth, predictions = extracted.benchmark.homographies, extracted.predictions
    return ResultCache(
        extracted.folder / "results",
        extracted.benchmark,
        method,
        {name: build_reranker(reranker).identity() for name, reranker in extracted.reranker_texts(method.name).items()},
        homographies=sha256(truth) if truth else None,
        junk=extracted.options.junk,
        predictions=predictions.sha256() if predictions else None,
    )


def search(extracted: Extracted, say: Callable[[str], None]) -> tuple[list[RowResult], dict[str, dict[str, float]]]:
    """Searches and reranks; rows of an interrupted run are reused.

    Returns:
      The rows, and the inlier accuracy by row, where true homographies are known.
    """
    dataset, predictions, rows = extracted.benchmark, extracted.predictions, []
    accuracy: dict[str, dict[str, float]] = {}
    for method, cache in zip(extracted.methods, extracted.caches):
        say(f"{method.name}: {len(dataset.queries)} queries, {len(dataset.database)} database images.")
        rerankers = {name: build_reranker(reranker) for name, reranker in extracted.reranker_texts(method.name).items()}
        cached = {name: row for name in cache.keys if (row := extracted.finished_row(cache, name)) is not None}
        for row in cached.values():
            say(f"{_line(row)} (cached)")

        def finished(row: RowResult, observed: Observed, alignment: Alignment, cache: ResultCache = cache) -> None:
            if predictions:
                for protocol, ranking in observed.rankings.items():
                    predictions.write(dataset, alignment, row.name, protocol, ranking)
            if dataset.submits:
                with atomic_path(extracted.submission_file(row.name)) as place, place.open("w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(dataset.submission(observed.observations))
            cache.put(row)
            say(_line(row))

        top_k = predictions.top_k if predictions else 0
        rows += run(
            dataset,
            method,
            rerankers,
            cached=cached,
            cache=cache,
            finished=finished,
            junk=extracted.options.junk,
            top_k=top_k,
        )
        accuracy |= _accuracies(extracted, method, cache, rerankers)
    return rows, accuracy


def _accuracies(
    extracted: Extracted, method: Method, cache: ResultCache, rerankers: Mapping[str, Reranker]
) -> dict[str, dict[str, float]]:
    """Inlier accuracy of the rows whose rerankers match local features; measurements of earlier runs are reused."""
    accuracies = {}
    for suffix, reranker in rerankers.items():
        verifier = geometric(method, reranker)
        if extracted.homographies and verifier is not None:
            name = method.row_name(suffix)
            accuracies[name] = cache.get_accuracy(name) or inlier_accuracy(
                extracted.benchmark, method, verifier, extracted.homographies
            )
            cache.put_accuracy(name, accuracies[name])
    return accuracies


def report(
    extracted: Extracted, rows: list[RowResult], settings: JsonObject, accuracy: dict[str, dict[str, float]]
) -> Report:
    """Writes the report."""
    document = make_report(extracted, rows, settings, accuracy)
    pictures: tuple[list[Any], list[Any]] = ([], [])
    if extracted.benchmark.pictured:
        rerankers = [build_reranker(reranker) for reranker in extracted.reranker_texts().values()]
        pictures = files.pictures(
            extracted.benchmark.with_pictures(), extracted.methods[0], list(zip(rows, [None, *rerankers]))
        )
    files.write(extracted.folder, document, text.metrics_txt(document), *pictures)
    return document


def _check_distractors(options: BenchmarkOptions, expected: bool) -> None:
    """Checks that ``--distractors_dir`` is set where the benchmark has distractors, and only there."""
    if expected and not options.distractors_dir:
        raise InputError(f"--benchmark={options.benchmark} expects --distractors_dir.")
    if options.distractors_dir and not expected:
        received = f" Received: {options.benchmark}" if options.benchmark else ""
        raise InputError(f"--distractors_dir expects --benchmark=NAME{DISTRACTORS}.{received}")
    if expected and options.index_features_dir and options.baselines:
        raise InputError(
            f"--baselines={','.join(options.baselines)} needs the photos of the distractors; --distractors_dir has "
            "their features, as --index_features_dir those of the database."
        )
    if expected and options.predictions:
        raise InputError("--predictions cannot be combined with distractors, whose names are not ranked to the end.")


def _check_junk(options: BenchmarkOptions, dataset: Benchmark) -> None:
    """Checks that at least one query is scored, and that ``--junk=keep`` does not keep the query in its own ranking."""
    if not options.predictions and not dataset.scored:
        raise InputError(f"No query of {dataset.name} has a right image, so nothing is scored; expected --predictions.")
    if options.junk != JUNK[0] and any(
        query.path == dataset.database[row].path
        for truths in dataset.protocols.values()
        for query, truth in zip(dataset.queries, truths)
        for row in truth.junk
    ):
        raise InputError(f"--junk={options.junk} is of no use here: the junk of {dataset.name} holds the query itself.")


def _line(row: RowResult) -> str:
    """A line with the main metric of a row, for the user."""
    main_metrics = {protocol: next(iter(metrics.items())) for protocol, metrics in row.metrics.items()}
    values = (f"{protocol} {text.number(metric.value)}" for protocol, (_, metric) in main_metrics.items())
    return f"{row.name}: {next(iter(main_metrics.values()))[0]} {', '.join(values)}"
