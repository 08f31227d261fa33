"""A benchmark from images to report: check everything, extract what is missing, run, write.

Each stage lies on disk when it is done: feature stores in ``features/``, rows in ``results/``, the report last.
"""

from collections.abc import Callable, Mapping

from evaluation.metrics.inliers import inlier_accuracy
from evaluation.report import files, text
from evaluation.report.model import JsonObject, Report
from evaluation.report.overlays import matches_locally
from evaluation.run.assemble import make_report, make_settings
from evaluation.run.method import Method, Outcome
from evaluation.run.plan import Config, Plan, prepare
from evaluation.run.result_cache import Ledger
from evaluation.run.runner import run
from matching.rerankers.base import Reranker


def benchmark(config: Config, say: Callable[[str], None] = print) -> Report:
    """Runs a benchmark, or finds it finished.

    Args:
      config: what is asked for.
      say: is given the lines for the user.

    Returns:
      The report, which also lies in ``config.output_dir`` as report.json, report.md, metrics.txt and report.html.

    Raises:
      InputError: see :func:`evaluation.run.plan.prepare`.
    """
    plan = prepare(config)
    settings = make_settings(config, plan)
    recalled = [_recall(plan, ledger, row) for ledger in plan.ledgers for row in ledger.keys]
    report = files.find_report(plan.folder, settings["fingerprint"]) if all(recalled) else None
    if report:
        for outcome in filter(None, recalled):
            say(f"{_line(outcome)} (cached)")
        say(f"{plan.folder / files.JSON}: the report of these features and rerankers is already complete.")
    else:
        report = _run(plan, settings, say)
    files.show(plan.folder, report, say)
    return report


def _run(plan: Plan, settings: JsonObject, say: Callable[[str], None]) -> Report:
    """Searches, reranks, scores and writes."""
    chosen = plan.benchmark
    outcomes: list[Outcome] = []
    accuracy: dict[str, dict[str, float]] = {}
    for method, ledger in zip(plan.methods, plan.ledgers):
        rerankers = plan.build_rerankers(method.name)
        say(f"{method.name}: {len(chosen.queries)} queries, {len(chosen.database)} database images.")

        def finished(outcome: Outcome, ledger: Ledger = ledger) -> None:
            ledger.keep(outcome)
            say(_line(outcome))

        def recall(row: str, ledger: Ledger = ledger) -> Outcome | None:
            outcome = _recall(plan, ledger, row)
            if outcome:
                say(f"{_line(outcome)} (cached)")
            return outcome

        keep = plan.predictions.keeper(chosen, method) if plan.predictions else None
        outcomes += run(chosen, method, rerankers, recall, finished, junk=plan.junk, keep=keep)
        accuracy |= _measured(plan, method, ledger, rerankers)
    report = make_report(plan, outcomes, settings, accuracy)
    shown = zip(outcomes, [None, *plan.build_rerankers().values()])
    pictures = files.pictures(chosen, plan.methods[0], list(shown))
    files.write(plan.folder, report, text.metrics_txt(report), *pictures)
    return report


def _recall(plan: Plan, ledger: Ledger, row: str) -> Outcome | None:
    """A finished row whose rankings are also written, where they are asked for."""
    return ledger.recall(row) if plan.written(row) else None


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


def _line(outcome: Outcome) -> str:
    values = (f"{protocol} {text.number(100 * scores.map)}" for protocol, scores in outcome.scores.items())
    return f"{outcome.method}: mAP {', '.join(values)}"
