"""From what was run to the report: numbers in percent, and what they rest on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from delg.common.errors import InputError
from delg.common.files import json_sha256, sha256
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.identity import answers_sha256, not_released
from evaluation.benchmarks.protocols import Truth
from evaluation.metrics.ranking import Scores
from evaluation.report.model import JsonObject, Report, Row
from evaluation.run.compatibility import noted
from evaluation.run.method import Outcome
from evaluation.run.plan import Config, Plan
from evaluation.run.published_values import beside, overlap
from evaluation.run.rerank_rows import hyper_parameters
from evaluation.run.versions import versions
from evaluation.statistics.clusters import groups
from evaluation.statistics.summary import trusted


def make_settings(config: Config, plan: Plan) -> JsonObject:
    """What is recorded in the report."""
    chosen = plan.benchmark
    places = {
        "dataset_file_path": config.dataset_file_path,
        "data_dir": config.data_dir,
        "queries_dir": config.queries_dir or config.data_dir,
        "distractors_dir": config.distractors_dir,
    }
    settings = {
        "benchmark": config.benchmark or chosen.name,
        **{name: place for name, place in places.items() if place},
        **({"ground_truth_sha256": sha256(chosen.truth)} if chosen.truth else {}),
        "answers_sha256": answers_sha256(chosen),
        **({"ground_truth": said} if (said := not_released(chosen)) else {}),
        **_pictures(chosen),
        "queries": len(chosen.queries),
        "database": len(chosen.database),
        **({"distractors": len(more)} if (more := plan.methods[0].distractors) is not None else {}),
        "queries_cropped": any(query.crop is not None for query in chosen.queries),
        "leave_one_out": chosen.leave_one_out,
        "queries_without_positives": {
            protocol: sum(len(truth.positives) == 0 for truth in truths)
            for protocol, truths in chosen.protocols.items()
        },
        **({"queries_without_positives_count": True} if chosen.count_all else {}),
        "junk": plan.junk,
        **({"protocol_mismatch": list(plan.mismatches)} if plan.mismatches else {}),
        **({"predictions": plan.predictions.settings()} if plan.predictions else {}),
        "model": config.model or config.index_features_dir,
        **({"published": config.published} if config.published else {}),
        **({"training_overlap": warning} if (warning := overlap(chosen.name)) else {}),
        **({"rootsift_row": plan.floor.left_out} if plan.floor.left_out else {}),
        "rerank": {name: hyper_parameters(text) for name, text in plan.all_rerankers.items()},
        "local_dtype": {method.name: method.database.local_dtype for method in plan.methods},
        "features": {method.name: method.database.settings for method in plan.methods},
        **noted(plan.methods[0]),
    }
    keys = [[ledger.keys, ledger.accuracy_keys] for ledger in plan.ledgers]
    return settings | {
        "fingerprint": json_sha256([source_sha256("evaluation.run.pipeline"), settings, chosen.side, keys])
    }


def _pictures(benchmark: Benchmark) -> JsonObject:
    """Says in the report why it shows no pictures, where image files are missing."""
    try:
        benchmark.check_images()
    except InputError as error:
        return {"pictures": f"Missing images are not shown. {error}"}
    return {}


def make_report(
    plan: Plan, outcomes: Sequence[Outcome], settings: JsonObject, accuracy: dict[str, dict[str, float]]
) -> Report:
    """Puts the outcomes into a report, in percent."""
    rows = [
        Row(
            o.method,
            {protocol: _percent(plan.benchmark, scores) for protocol, scores in o.scores.items()},
            o.ms_per_query,
            o.bytes_per_image,
        )
        for o in outcomes
    ]
    names = [query.name for query in plan.benchmark.queries]
    ap = {o.method: {p: (100 * s.ap).tolist() for p, s in o.scores.items()} for o in outcomes}
    hits = _hits(outcomes, plan.benchmark.count_all) if plan.benchmark.any_recall else {}
    ours = {row.method: {protocol: values["mAP"] for protocol, values in row.metrics.items()} for row in rows}
    first = plan.methods[0]
    skipped = {"database": first.database.skipped}
    if first.queries is not first.database:
        skipped = {"query": first.queries.skipped} | skipped
    queries = {"names": names, **_grouped(plan.benchmark), "ap": ap, **({"hits": hits} if hits else {})}
    return Report(
        benchmark=plan.benchmark.name,
        rows=rows,
        settings=settings,
        versions=versions(),
        queries=queries,
        recalls={o.method: {p: s.percent_recalls() for p, s in o.scores.items()} for o in outcomes},
        inlier_accuracy=accuracy,
        skipped=skipped,
        statistics=trusted(queries, "mAP"),
        published=beside(plan.benchmark.name, ours, settings.get("published")),
    )


def _grouped(benchmark: Benchmark) -> JsonObject:
    """Which queries are drawn together, and what that is called where it is not by their right images."""
    if benchmark.squares is not None:
        return {"groups": benchmark.squares.tolist(), "drawn": f"squares of {benchmark.side:g} m"}
    return {"groups": groups(_grouping(benchmark)).tolist()}


def _grouping(benchmark: Benchmark) -> list[Truth]:
    """Truths that tell which queries are of one thing; where all photos are queries, each one's own counts, too."""
    truths = benchmark.protocols[benchmark.main_protocol]
    if not benchmark.leave_one_out:
        return truths
    own = [replace(truth, positives=np.union1d(truth.positives, [q])) for q, truth in enumerate(truths)]
    return [with_own if len(truth.positives) else truth for truth, with_own in zip(truths, own, strict=True)]


def _percent(benchmark: Benchmark, scores: Scores) -> dict[str, float]:
    """What a row holds, in percent."""
    recalls = scores.percent_any_recalls(benchmark.count_all) if benchmark.any_recall else {}
    return scores.percent() | recalls | (scores.percent_cut_maps() if benchmark.cut_map else {})


def _hits(outcomes: Sequence[Outcome], count_all: bool) -> dict[str, dict[str, dict[str, list[float]]]]:
    """``{"R@1": {row: {protocol: [100 or 0 of each query]}}}``."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for outcome in outcomes:
        for protocol, scores in outcome.scores.items():
            for name, values in scores.percent_hits(count_all).items():
                found.setdefault(name, {}).setdefault(outcome.method, {})[protocol] = values
    return found
