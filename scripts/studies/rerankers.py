"""One table of all rerankers on the same features: quality with intervals, time and memory.

Usage: python -m scripts.studies.rerankers FOLDER; the reports lie in FOLDER/reports/MODEL/SET, as
``scripts/studies/rerankers.sh`` makes them. Sets whose names end in a number are seeds of one set and are pooled.
Rerankers that differ in the number of a file of weights alone, as ``elvis0.safetensors``, are one row: the mean of each
query, and the mAP of each file.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError
from delg.common.files import write_text
from evaluation.report.compare import read_report
from evaluation.report.model import Report
from evaluation.statistics.bootstrap import compare, interval
from scripts.studies.guard import guarded

PROTOCOLS = ("all", "medium")  # of photos, and of landmarks
FIRST = "global"
NUMBER = re.compile(r"\d+(?=\.safetensors)")  # of a training
HEAD = ["reranker", "mAP", "95 % interval", "change", "95 % interval", "p", "R@1", "ms/query", "local bytes/image"]


def of_queries(reports: Sequence[Report], method: str, measure: str = "ap") -> list[float]:
    """A value for each query of all reports: average precision, or with ``"R@1"`` whether the first result is right."""
    values: list[float] = []
    for report in reports:
        found = report.queries["ap"] if measure == "ap" else report.queries.get("hits", {}).get(measure, {})
        protocols = found.get(method, {})
        values += next((protocols[name] for name in PROTOCOLS if name in protocols), [])
    return values


def methods(report: Report) -> dict[str, list[str]]:
    """The methods of each row of the table."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in report.rows:
        found[NUMBER.sub("*", row.method)].append(row.method)
    return found


def groups(reports: Sequence[Report]) -> NDArray[np.int64]:
    """Groups of the queries; those of two reports are different ones."""
    joined: list[NDArray[np.int64]] = []
    for report in reports:
        own = np.array(report.queries["groups"], np.int64)
        joined.append(own + (joined[-1].max() + 1 if joined else 0))
    return np.concatenate(joined)


def lines_of(reports: Sequence[Report]) -> list[str]:
    """The rows of one set of queries, a line of Markdown each."""
    lines = [f"| {' | '.join(HEAD)} |", f"|---{'|---:' * (len(HEAD) - 1)}|"]
    grouped, before = groups(reports), of_queries(reports, FIRST)
    for title, names in methods(reports[0]).items():
        of_each = [of_queries(reports, name) for name in names]
        values, hits = np.mean(of_each, axis=0), [hit for name in names for hit in of_queries(reports, name, "R@1")]
        mean = interval(values, grouped)
        means = f" (each: {', '.join(f'{np.nanmean(one):.1f}' for one in of_each)})" if len(names) > 1 else ""
        cells = [
            title.partition("+")[2] or "first stage",
            f"{mean.mean:.1f}{means}",
            f"{mean.low:.1f} to {mean.high:.1f}",
        ]
        if title == FIRST:
            cells += ["", "", ""]
        else:
            change = compare(before, values, grouped)
            cells += [f"{change.difference:+.1f}", f"{change.low:+.1f} to {change.high:+.1f}", f"{change.p:.3f}"]
        cells.append(f"{np.nanmean(hits):.1f}" if hits else "-")
        rows = [report.row(name) for report in reports for name in names]
        cells.append(f"{np.mean([one.ms_per_query.get('rerank', np.nan) for one in rows]):.1f}")
        cells.append(f"{np.mean([one.bytes_per_image.get('local', np.nan) for one in rows]):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def table(folder: Path) -> str:
    """All models and sets.

    Raises:
      InputError: there are no reports.
    """
    places = sorted(folder.glob("reports/*/*/report.json"))
    if not places:
        raise InputError(f"{folder} holds no reports/MODEL/SET/report.json.")
    sets: dict[tuple[str, str], list[Report]] = defaultdict(list)
    for place in places:
        sets[place.parts[-3], place.parts[-2].rstrip("0123456789") or place.parts[-2]].append(read_report(place.parent))
    text = []
    for (model, name), reports in sets.items():
        count = sum(len(report.queries["names"]) for report in reports)
        text += [f"## {model}, {name}", "", f"{count} queries, {len(reports)} seed(s).", "", *lines_of(reports), ""]
    return "\n".join(text)


def main() -> None:
    """Reads, prints, writes ``rerankers.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    text = table(folder)
    write_text(folder / "rerankers.md", text)
    print(text)


if __name__ == "__main__":
    guarded(main)
