"""Builds the report from finished rows: metrics, settings, versions and statistics."""

from collections.abc import Sequence
from typing import Any

from delg.common.errors import InputError
from delg.common.files import json_sha256
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import answers_sha256, not_released
from evaluation.benchmarks.method import RowResult
from evaluation.report.model import JsonObject, Report, Row
from evaluation.run.compatibility import noted
from evaluation.run.plan import Extracted
from evaluation.run.published_values import beside, overlap
from evaluation.run.rerank_rows import hyper_parameters
from evaluation.run.versions import versions
from evaluation.statistics.summary import trusted


def make_settings(run: Extracted) -> JsonObject:
    """The settings that the report records, with the fingerprint of the run."""
    options, benchmark, method = run.options, run.benchmark, run.methods[0]
    places = {
        "dataset_file_path": options.dataset_file_path,
        "data_dir": options.data_dir,
        "queries_dir": options.queries_dir or options.data_dir,
        "distractors_dir": options.distractors_dir,
    }
    rerankers = run.reranker_texts(run.baselines.verified or method.name)
    own = benchmark.settings()
    has_junk = any(len(truth.junk) for truths in benchmark.protocols.values() for truth in truths)
    settings = {
        "benchmark": options.benchmark or benchmark.name,
        **{name: place for name, place in places.items() if place},
        "answers_sha256": own.get("answers_sha256") or answers_sha256(benchmark),
        **({"ground_truth": sentence} if (sentence := not_released(benchmark)) else {}),
        **_pictures(benchmark),
        "queries": len(benchmark.queries),
        "database": len(benchmark.database),
        **({"distractors": len(distractors)} if (distractors := method.distractors) is not None else {}),
        "queries_cropped": any(query.crop is not None for query in benchmark.queries),
        "leave_one_out": benchmark.leave_one_out,
        **own,
        **({"junk": options.junk} if has_junk else {}),
        **({"protocol_mismatch": list(run.mismatches)} if run.mismatches else {}),
        **({"predictions": run.predictions.settings()} if run.predictions else {}),
        "model": options.model or options.index_features_dir,
        **({"published": options.published} if options.published else {}),
        **({"training_overlap": warning} if (warning := overlap(benchmark.name)) else {}),
        **({"rootsift_row": run.baselines.left_out} if run.baselines.left_out else {}),
        "rerank": {name: hyper_parameters(text) for name, text in rerankers.items()},
        "local_dtype": {method.name: method.database.local_dtype for method in run.methods},
        "features": {method.name: method.database.settings for method in run.methods},
        **noted(method),
    }
    keys = [[cache.keys, cache.accuracy_keys] for cache in run.caches]
    code = source_sha256("evaluation.run.pipeline")
    return settings | {"fingerprint": json_sha256([code, settings, benchmark.cell_size, keys])}


def _pictures(benchmark: Benchmark) -> JsonObject:
    """The reason why the report shows no pictures, where image files are missing."""
    if not benchmark.pictured:
        return {}
    try:
        benchmark.check_images()
    except InputError as error:
        return {"pictures": f"Missing images are not shown. {error}"}
    return {}


def make_report(
    run: Extracted, rows: Sequence[RowResult], settings: JsonObject, accuracy: dict[str, dict[str, float]]
) -> Report:
    """Puts the rows into a report."""
    benchmark, method = run.benchmark, run.methods[0]
    names = benchmark.query_names()
    skipped = {"database": method.database.skipped}
    if method.queries is not method.database:
        skipped = {"query": method.queries.skipped} | skipped
    queries = per_query(names, benchmark.clusters(), {row.name: row.metrics for row in rows})
    table = report_rows(rows)
    main = next(iter(table[0].metrics[next(iter(table[0].metrics))]))
    values_by_row = {
        row.method: {protocol: values.get("mAP", 0.0) for protocol, values in row.metrics.items()} for row in table
    }
    return Report(
        benchmark=benchmark.name,
        rows=table,
        settings=settings,
        versions=versions(),
        queries=queries,
        recalls={
            row.name: {p: {n: m.value for n, m in ms.items() if not m.in_table} for p, ms in row.metrics.items()}
            for row in rows
        },
        inlier_accuracy=accuracy,
        skipped=skipped,
        statistics=trusted(queries, main),
        published=beside(benchmark.name, values_by_row, settings.get("published")),
    )


def report_rows(rows: Sequence[RowResult]) -> list[Row]:
    """The rows of the report's table."""
    return [
        Row(
            row.name,
            {p: {name: m.value for name, m in metrics.items() if m.in_table} for p, metrics in row.metrics.items()},
            row.ms_per_query,
            row.bytes_per_image,
        )
        for row in rows
    ]


def per_query(names: Sequence[str], clusters: JsonObject, rows: dict[str, dict[str, Any]]) -> JsonObject:
    """Values of single queries, see :class:`evaluation.report.model.Report`.

    Args:
      names: names of the queries.
      clusters: see :meth:`evaluation.benchmarks.base.Benchmark.clusters`.
      rows: the metric for each row, protocol and name.
    """
    queries: JsonObject = {"names": list(names), **clusters, "ap": {}}
    places: JsonObject = {}
    hits: JsonObject = {}
    for row, protocols in rows.items():
        for protocol, metrics in protocols.items():
            main = next(iter(metrics.values()))
            queries["ap"].setdefault(row, {})[protocol] = main.per_query.tolist()
            if main.places is not None:
                places.setdefault(row, {})[protocol] = main.places.tolist()
            for name, metric in metrics.items():
                if metric.compared:
                    hits.setdefault(name, {}).setdefault(row, {})[protocol] = metric.per_query.tolist()
    return queries | ({"places": places} if places else {}) | ({"hits": hits} if hits else {})
