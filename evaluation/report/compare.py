"""Compares two finished reports, settings and results; as text and as a page."""

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import read_json
from evaluation.report import html, text
from evaluation.report.model import JsonObject, Report
from evaluation.report.queries import per_query
from evaluation.statistics.bootstrap import holm
from evaluation.statistics.summary import grouped_of, samples

NOT_COMPARED = ("fingerprint",)  # settings that differ without a meaning
TRUTHS = ("answers_sha256", "ground_truth_sha256", "solution_file_sha256")  # the first key in both reports decides


@dataclass(frozen=True)
class Pairing:
    """A row of each report.

    Attributes:
      first: row of the first report.
      second: row of the second report.
    """

    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two reports of one benchmark.

    Attributes:
      reports: the two reports.
      names: names of the reports: ends of their paths.
      pairs: pairs of compared rows.
      changes: for each pair, measure (the main one, such as mAP, and each R@k in both reports) and protocol,
        ``difference, low, high, p, p_corrected`` of the second against the first.
      settings: settings that differ, ``(key, first, second)``.
      warnings: reasons to doubt the numbers of A, of B or of both, a sentence each.
    """

    reports: tuple[Report, Report]
    names: tuple[str, str]
    pairs: list[Pairing]
    changes: list[dict[str, dict[str, JsonObject]]]
    settings: list[tuple[str, str, str]]
    warnings: list[str]


def read_report(place: str | os.PathLike[str]) -> Report:
    """The report of a folder, or of a ``report.json``.

    Raises:
      InputError: the report is missing, or has no values per query.
    """
    path = Path(place)
    document = read_json(path / "report.json" if path.is_dir() else path)
    if isinstance(document, dict) and "rows" in document and not document.get("queries", {}).get("ap"):
        of = document.get("benchmark", "unknown")
        raise InputError(f"{place}, a report of {of}, holds no average precision per query, so it cannot be compared.")
    return Report.from_json(document)


def put_together(
    first: str, second: str, rows: tuple[str, str] | None = None, allow_different_truths: bool = False
) -> Comparison:
    """Compares two reports of one benchmark, the same queries and the same right answers.

    Args:
      first: folder or ``report.json`` of the reference.
      second: folder or ``report.json``; changes go from the first to the second report.
      rows: a row of each report; None for all rows with equal names.
      allow_different_truths: also compare reports of different right answers; the comparison then has a warning.

    Returns:
      The comparison.

    Raises:
      InputError: a report is missing, benchmarks, queries or right answers differ, or the reports share no row.
    """
    reports = read_report(first), read_report(second)
    if reports[0].benchmark != reports[1].benchmark:
        names = " and of ".join(report.benchmark for report in reports)
        raise InputError(f"The reports are of {names}; expected one benchmark.")
    if reports[0].queries["names"] != reports[1].queries["names"]:
        raise InputError(f"The reports {first} and {second} are of different queries, so that they cannot be paired.")
    if reports[0].protocols != reports[1].protocols:
        raise InputError(f"The reports {first} and {second} have different protocols.")
    different = _different_truths(reports)
    if different and not allow_different_truths:
        raise InputError(
            f"The reports {first} and {second} were scored against different right answers ({different}); "
            "--allow_different_truths compares them all the same."
        )
    pairs = [Pairing(reports[0].row(rows[0]).method, reports[1].row(rows[1]).method)] if rows else _common(*reports)
    if not pairs:
        listed = " and ".join(", ".join(row.method for row in report.rows) for report in reports)
        raise InputError(f"No row is in both reports; name one of each with --rows=FIRST,SECOND. They have {listed}.")
    warnings = _warnings(reports, different)
    return Comparison(reports, _names(first, second), pairs, _changes(reports, pairs), _settings(reports), warnings)


def _different_truths(reports: tuple[Report, Report]) -> str | None:
    """The recorded difference between the right answers; None where they agree or nothing is recorded.

    Compared are the hashes, and whether answers to images without a landmark count as wrong.
    """
    counted = [report.settings.get("ignore_non_landmarks") for report in reports]
    if None not in counted and counted[0] != counted[1]:
        return f"ignore_non_landmarks {counted[0]} and {counted[1]}"
    for key in TRUTHS:
        values = [str(report.settings.get(key, ""))[:12] for report in reports]
        if all(values):
            return f"{key} {values[0]}... and {values[1]}..." if values[0] != values[1] else None
    return None


def _warnings(reports: tuple[Report, Report], different: str | None) -> list[str]:
    """A warning that the right answers differ, then the warnings of each report."""
    warnings = []
    if different:
        warnings.append(f"DIFFERENT RIGHT ANSWERS: A and B were scored against different ones ({different}).")
    for name, report in zip("AB", reports, strict=True):
        sentences = [*text.warnings(report), *report.settings.get("version_differences", ())]
        warnings += [f"{name}: {sentence}" for sentence in sentences]
    return warnings


def _common(first: Report, second: Report) -> list[Pairing]:
    names = {row.method for row in second.rows}
    return [Pairing(row.method, row.method) for row in first.rows if row.method in names]


def _names(first: str, second: str) -> tuple[str, str]:
    """The shortest different ends of two paths."""
    parts = [Path(os.path.abspath(place)).parts for place in (first, second)]  # noqa: PTH100
    for depth in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(part[-depth:]) for part in parts]
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return first, second


def _changes(reports: tuple[Report, Report], pairs: list[Pairing]) -> list[dict[str, dict[str, JsonObject]]]:
    """Paired changes; the p-values of a measure and protocol are corrected for the number of pairs."""
    groups = {"groups": grouped_of(reports[0].queries)}
    first, second = (samples(report.queries | groups, report.measure) for report in reports)
    changes_of_pairs: list[dict[str, dict[str, JsonObject]]] = [{} for _ in pairs]
    for measure in [name for name in first if name in second]:
        samples_of_a, samples_of_b = first[measure], second[measure]
        for protocol in reports[0].protocols:
            changes = [
                samples_of_b[pair.second][protocol].change_from(samples_of_a[pair.first][protocol]) for pair in pairs
            ]
            for entry, change, corrected in zip(changes_of_pairs, changes, holm([c.p for c in changes]), strict=True):
                entry.setdefault(measure, {})[protocol] = asdict(change) | {"p_corrected": corrected}
    return changes_of_pairs


def _settings(reports: tuple[Report, Report]) -> list[tuple[str, str, str]]:
    """Options, feature settings and versions that differ."""
    differences = []
    for title, values in (
        ("", [_compared_settings(report) for report in reports]),
        ("version ", [r.versions for r in reports]),
    ):
        settings_of_a, settings_of_b = (dict(text.flat(value)) for value in values)
        for key in sorted(settings_of_a.keys() | settings_of_b.keys()):
            pair = settings_of_a.get(key, "absent"), settings_of_b.get(key, "absent")
            if pair[0] != pair[1]:
                differences.append((f"{title}{key}", *pair))
    return differences


def _compared_settings(report: Report) -> dict[str, Any]:
    return {key: value for key, value in report.settings.items() if key not in NOT_COMPARED}


HEAD = ["row", "protocol", "measure", "A", "B", *text.CHANGE]


def lines(comparison: Comparison) -> list[list[str]]:
    """One line for each pair of rows, measure and protocol."""
    first, second = comparison.reports
    table = []
    for pair, changes in zip(comparison.pairs, comparison.changes, strict=True):
        name = pair.first if pair.first == pair.second else f"{pair.first} → {pair.second}"
        for measure, protocols in changes.items():
            for protocol, change in protocols.items():
                values = [
                    report.row(row).metrics[protocol][measure]
                    for report, row in ((first, pair.first), (second, pair.second))
                ]
                table.append([name, protocol, measure, *map(text.fixed, values), *text.change_cells(change)])
    return table


def plain(comparison: Comparison) -> str:
    """Text for a terminal: names of A and B, warnings, changes from A to B, settings that differ."""
    table = [HEAD, *lines(comparison)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    text_lines = [f"{comparison.reports[0].benchmark}: A = {comparison.names[0]}, B = {comparison.names[1]}", ""]
    text_lines += [*comparison.warnings, ""] if comparison.warnings else []
    for line in table:
        cells = [cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        text_lines.append("  ".join(cells).rstrip())
    settings = [f"{key}: {value_of_a} | {value_of_b}" for key, value_of_a, value_of_b in comparison.settings]
    text_lines += ["", *(["Settings that differ, A | B:", *settings] if settings else ["No recorded setting differs."])]
    return "\n".join(text_lines) + "\n"


def render(comparison: Comparison) -> str:
    """The page."""
    first, second = comparison.reports
    protocol = first.main_protocol
    pages = []
    for pair in comparison.pairs:
        before, after = first.queries["ap"][pair.first][protocol], second.queries["ap"][pair.second][protocol]
        moves = [b - a for a, b in zip(before, after, strict=True) if not math.isnan(a + b)]
        pages.append(
            {
                "title": pair.first if pair.first == pair.second else f"{pair.first} → {pair.second}",
                "better": sum(move > 0.05 for move in moves),
                "worse": sum(move < -0.05 for move in moves),
                "table": per_query(first.queries["names"], {"A": before, "B": after}),
            }
        )
    return html.page(
        "compare.html",
        benchmark=first.benchmark,
        names=comparison.names,
        protocol=protocol,
        per_query=first.per_query,
        head=HEAD,
        lines=lines(comparison),
        settings=comparison.settings,
        warnings=comparison.warnings,
        notes=text.statistics_notes(second),
        pages=pages,
    )
