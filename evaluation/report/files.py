"""The files of a finished benchmark, and their summary in the terminal."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from delg.common.errors import InputError
from delg.common.files import read_json, write_json, write_text
from evaluation.benchmarks.base import Benchmark
from evaluation.benchmarks.method import Method, RowResult
from evaluation.report import gallery, html, text
from evaluation.report.model import Report
from evaluation.report.pairs import drawer
from extraction.images import Reading
from matching.rerankers.base import Reranker

JSON, MARKDOWN, METRICS, PAGE = "report.json", "report.md", "metrics.txt", "report.html"


def find_report(folder: Path, fingerprint: str) -> Report | None:
    """The report in a folder, if the report is complete and has this fingerprint; None otherwise."""
    if not all((folder / name).is_file() for name in (JSON, MARKDOWN, METRICS, PAGE)):
        return None
    try:
        report = Report.from_json(read_json(folder / JSON))
    except InputError:
        return None
    return report if report.settings.get("fingerprint") == fingerprint else None


def write(
    folder: Path,
    report: Report,
    metrics: str,
    cards: Sequence[gallery.Card] = (),
    overlays: Sequence[gallery.Overlay] = (),
) -> None:
    """Writes the page, the texts, and last the JSON, each atomically.

    Args:
      folder: output folder.
      report: the report.
      metrics: the text of ``metrics.txt``.
      cards: ranking strips for the page.
      overlays: pictures of inlier matches for the page.
    """
    write_text(folder / PAGE, html.render(report, cards, overlays))
    write_text(folder / MARKDOWN, text.markdown(report))
    write_text(folder / METRICS, metrics)
    write_json(folder / JSON, report.to_json())


def pictures(
    benchmark: Benchmark, method: Method, shown: Sequence[tuple[RowResult, Reranker | None]]
) -> tuple[list[gallery.Card], list[gallery.Overlay]]:
    """Ranking strips, and inlier matches of the first reranker that matches local features.

    Args:
      benchmark: images and truths.
      method: the model under test.
      shown: rows of the method with their rerankers, the first stage first.
    """
    matched: list[gallery.Overlay] = []
    for row, reranker in shown:
        draw = drawer(benchmark, method, reranker)
        if draw is not None and not matched:
            matched = gallery.overlays(benchmark, row, draw)
    reading = Reading.of(method.database.settings)
    return gallery.cards(benchmark, [row for row, _ in shown], reading=reading), matched


def show(folder: Path, report: Report, say: Callable[[str], None]) -> None:
    """Shows the user the table, warnings and the path of the page."""
    say("")
    say(text.headline(report) + "\n")
    say(text.plain(report, shutil.get_terminal_size(fallback=(200, 24)).columns))
    for sentence in (*text.warnings(report), *text.without_positives(report), *text.unreadable(report)):
        say(sentence)
    say(f"Report page: {(folder / PAGE).resolve()}")
