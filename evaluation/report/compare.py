"""Two finished reports side by side: what differs in how they were made, and in the results; as text and as a page."""

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

UNTOLD = ("fingerprint",)  # settings whose difference says nothing
TRUTHS = ("answers_sha256", "ground_truth_sha256", "solution_file_sha256")  # the first that both reports hold decides


@dataclass(frozen=True)
class Pairing:
    """One row of each report.

    Attributes:
      first: of the first report.
      second: of the second.
    """

    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """Two reports of one benchmark.

    Attributes:
      reports: the two.
      names: what they are called: their folders.
      pairs: rows that are compared.
      changes: for each pair, measure (the reports' first, such as mAP, and each R@k that both hold) and protocol,
        ``difference, low, high, p, p_corrected`` of the second against the first.
      settings: what was asked for or recorded differently, ``(key, first, second)``.
      warnings: why the numbers of A, of B or of both are not what they seem, a sentence each.
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
      InputError: it is missing, or is no report with per-query values.
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
      first: folder or ``report.json``; what is compared with.
      second: likewise; the changes are those from the first to it.
      rows: a row of each; None for all rows of one name.
      allow_different_truths: compare reports of different right answers, too; the comparison then warns of it.

    Returns:
      The comparison.

    Raises:
      InputError: a report is missing, the benchmarks, their queries or their right answers differ, or no row is in
        both.
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
    """What tells that the right answers differ; None where they agree or that is not recorded.

    That is their recorded hashes, and whether answers to images without a landmark count as wrong.
    """
    counted = [report.settings.get("ignore_non_landmarks") for report in reports]
    if None not in counted and counted[0] != counted[1]:
        return f"ignore_non_landmarks {counted[0]} and {counted[1]}"
    for key in TRUTHS:
        found = [str(report.settings.get(key, ""))[:12] for report in reports]
        if all(found):
            return f"{key} {found[0]}... and {found[1]}..." if found[0] != found[1] else None
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
    """The shortest ends of the two paths that differ."""
    parts = [Path(os.path.abspath(place)).parts for place in (first, second)]  # noqa: PTH100
    for depth in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(part[-depth:]) for part in parts]
        if ends[0] != ends[1]:
            return ends[0], ends[1]
    return first, second


def _changes(reports: tuple[Report, Report], pairs: list[Pairing]) -> list[dict[str, dict[str, JsonObject]]]:
    """Paired changes, their p-values corrected for the number of pairs in a protocol, for each measure by itself."""
    groups = {"groups": grouped_of(reports[0].queries)}
    first, second = (samples(report.queries | groups, report.measure) for report in reports)
    found: list[dict[str, dict[str, JsonObject]]] = [{} for _ in pairs]
    for measure in [name for name in first if name in second]:
        one, other = first[measure], second[measure]
        for protocol in reports[0].protocols:
            changes = [other[pair.second][protocol].change_from(one[pair.first][protocol]) for pair in pairs]
            for entry, change, corrected in zip(found, changes, holm([c.p for c in changes]), strict=True):
                entry.setdefault(measure, {})[protocol] = asdict(change) | {"p_corrected": corrected}
    return found


def _settings(reports: tuple[Report, Report]) -> list[tuple[str, str, str]]:
    """What was asked for differently, how the features were made differently, and with which versions."""
    found = []
    for title, values in (("", [_asked(report) for report in reports]), ("version ", [r.versions for r in reports])):
        one, other = (dict(text.flat(value)) for value in values)
        for key in sorted(one.keys() | other.keys()):
            pair = one.get(key, "absent"), other.get(key, "absent")
            if pair[0] != pair[1]:
                found.append((f"{title}{key}", *pair))
    return found


def _asked(report: Report) -> dict[str, Any]:
    return {key: value for key, value in report.settings.items() if key not in UNTOLD}


HEAD = ["row", "protocol", "measure", "A", "B", *text.CHANGE]


def lines(found: Comparison) -> list[list[str]]:
    """One line for each pair of rows, measure and protocol."""
    first, second = found.reports
    table = []
    for pair, changes in zip(found.pairs, found.changes, strict=True):
        name = pair.first if pair.first == pair.second else f"{pair.first} → {pair.second}"
        for measure, protocols in changes.items():
            for protocol, change in protocols.items():
                values = [
                    report.row(row).metrics[protocol][measure]
                    for report, row in ((first, pair.first), (second, pair.second))
                ]
                table.append([name, protocol, measure, *map(text.fixed, values), *text.change_cells(change)])
    return table


def plain(found: Comparison) -> str:
    """For a terminal: what A and B are, warnings, the settings that differ, the changes from A to B."""
    table = [HEAD, *lines(found)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    said = [f"{found.reports[0].benchmark}: A = {found.names[0]}, B = {found.names[1]}", ""]
    said += [*found.warnings, ""] if found.warnings else []
    said += [f"{key}: {one} | {other}" for key, one, other in found.settings] or ["No recorded setting differs."]
    said.append("")
    for line in table:
        cells = [cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        said.append("  ".join(cells).rstrip())
    return "\n".join(said) + "\n"


def render(found: Comparison) -> str:
    """The page."""
    first, second = found.reports
    protocol = first.main_protocol
    pages = []
    for pair in found.pairs:
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
        names=found.names,
        protocol=protocol,
        per_query=first.per_query,
        head=HEAD,
        lines=lines(found),
        settings=found.settings,
        warnings=found.warnings,
        notes=text.statistics_notes(second),
        pages=pages,
    )
