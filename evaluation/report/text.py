"""The report as text: an aligned table, a Markdown page, and the released ``metrics.txt``."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.report.model import Report, Row
from evaluation.run.method import FIRST_STAGE
from evaluation.statistics.bootstrap import LEAST
from evaluation.statistics.summary import grouped_of, samples

Table = tuple[list[str], list[list[str]]]
COST = ("search ms", "rerank ms", "global B", "local B")  # per query, per database image
MIN_WIDTH = 6  # of a column: 100.00
NAMED = 3  # queries without positives that are named
MEASURES = {
    "mAP": "Average precision is the area with trapezoids, as released with the revisited benchmarks; queries without "
    "positives have no part in the means.",
    "mAP@100": "mAP@100 is the finite sum of GLDv2 over the first 100 answers, not the area with trapezoids; a query "
    "without an answer or without a relevant image counts as 0. A mean or median position is the place of the first "
    "relevant image, 101 where there is none.",
    "GAP": "GAP, the global average precision, is of one list of all answers, the surest first; the value of a single "
    "query is the precision of that list down to its answer where that is right, else 0, and their mean is GAP. top-1 "
    "is the share of the queries with a landmark that are answered right.",
}
JUNK_SAID = {
    "keep": "The whole ranking is reranked, junk included; junk is passed over when it is scored.",
    "remove_before_rerank": "Per protocol, junk is taken out of the first-stage ranking, then it is reranked, then "
    "scored.",
}


def header(report: Report) -> list[str]:
    """Column names: the method, each protocol's metrics, time and size."""
    quality = [f"{metric} {protocol}" for protocol in report.protocols for metric in report.rows[0].metrics[protocol]]
    return ["method", *quality, *(COST if report.costed else ())]


def cells(row: Row) -> list[str]:
    """One row's cells, rounded for reading; those of :data:`COST` stand last."""
    quality = [number(value) for metrics in row.metrics.values() for value in metrics.values()]
    times, sizes = row.costs[:2], row.costs[2:]
    return [row.method, *quality, *map(number, times), *(number(size, 0) for size in sizes)]


def number(value: float, digits: int = 2) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def plain(report: Report, columns: int | None = None) -> str:
    """The results in aligned columns, for a terminal.

    Args:
      report: the results.
      columns: width of the terminal; where the table is wider, its protocols stand one below the other. None for no
        limit.

    Returns:
      The text, each line ended.
    """
    first = [["", "method"], *(["", row.method] for row in report.rows)]
    groups = [
        [[protocol, *report.rows[0].metrics[protocol]]]
        + [["", *map(number, row.metrics[protocol].values())] for row in report.rows]
        for protocol in report.protocols
    ]
    if report.costed:
        groups.append([["", *COST], *(["", *cells(row)[-len(COST) :]] for row in report.rows)])
    whole = _beside(first, *groups)
    if columns is None or max(map(len, whole)) <= columns:
        return "\n".join(whole) + "\n"
    return "\n\n".join("\n".join(_beside(first, group)) for group in groups) + "\n"


def _beside(*groups: Sequence[Sequence[str]]) -> list[str]:
    """Joins groups of columns; the first cell of a group's first line is its title, the column names follow it."""
    left = max(len(line[1]) for line in groups[0])
    titles, lines = [" " * left], [line[1].ljust(left) for line in groups[0]]
    for group in groups[1:]:
        width = max(MIN_WIDTH, *(len(cell) for line in group for cell in line[1:]))
        size = (width + 2) * (len(group[0]) - 1) - 2
        titles.append(group[0][0].ljust(size))
        lines = [f"{line}   {'  '.join(cell.rjust(width) for cell in row[1:])}" for line, row in zip(lines, group)]
    title = "   ".join(titles).rstrip()
    return [title, *lines] if title else lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = False) -> list[str]:
    rule = ["---", *["---:" if numbers else "---"] * (len(head) - 1)]
    clean = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (head, rule, *rows))
    return [f"| {' | '.join(line)} |" for line in clean]


def markdown(report: Report) -> str:
    """``report.md``: the results, what they rest on, settings and versions."""
    lines = [
        f"# {report.benchmark}",
        "",
        *(line for sentence in warnings(report) for line in (f"**{sentence}**", "")),
        *_table(header(report), [cells(row)[: len(header(report))] for row in report.rows], numbers=True),
        "",
    ]
    cost = " Times are milliseconds per query; sizes are bytes per database image." if report.costed else ""
    lines += [f"Quality in percent.{cost}", ""]
    lines += [f"- {note}" for note in notes(report)]
    for title, table in sections(report):
        lines += ["", f"## {title}", "", *_table(*table)]
    lines += ["", "## Settings", "", *_table(["setting", "value"], flat(report.settings))]
    lines += ["", "## Versions", "", *_table(["part", "version"], [[k, v] for k, v in report.versions.items()])]
    return "\n".join(lines) + "\n"


def sections(report: Report) -> list[tuple[str, Table]]:
    """The tables that tell how far the results can be trusted, each with its title."""
    found = {
        "Confidence": intervals(report),
        "Changes": paired(report),
        "Published values": published(report),
    }
    return [(title, table) for title, table in found.items() if table]


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A setting as lines ``(key, value)``; nested settings get dotted keys.

    >>> flat({"rerank": {"k": 9}, "scales": [1, 2]})
    [('rerank.k', '9'), ('scales', '1, 2')]
    """
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def notes(report: Report) -> list[str]:
    """What a reader has to know about the numbers besides :func:`warnings`, a sentence each."""
    said = [MEASURES[report.measure]] if report.measure in MEASURES else []
    if "junk" in report.settings:
        said.append(JUNK_SAID[report.settings["junk"]])
    if any(metric.startswith("R@") for row in report.rows for values in row.metrics.values() for metric in values):
        counted = ", those without right images counted as failures,"
        of_all = counted if report.settings.get("queries_without_positives_count") else ""
        said.append(f"R@k is the share of queries{of_all} with any right image among the first k results.")
    if any(row.ms_per_query.get("rerank") for row in report.rows):
        said.append(
            "Rerank time is measured with nothing remembered from an earlier protocol; it includes reading the local "
            "features."
        )
    if "pictures" in report.settings:
        said.append(report.settings["pictures"])
    said += report.settings.get("protocol_unknown", ())
    said += report.settings.get("version_differences", ())
    if "rootsift_row" in report.settings:
        said.append(report.settings["rootsift_row"])
    if "training_overlap" in report.settings:
        said.append(report.settings["training_overlap"])
    said += statistics_notes(report)
    if others := list(report.statistics.get("hits", {}))[1:]:
        said.append(f"The changes of {', '.join(others)} are in report.json.")
    said += without_positives(report)
    for method, found in report.inlier_accuracy.items():
        said.append(
            f"{method}: {number(found['percent'])} % of {found['inliers']:.0f} inliers, over {found['pairs']:.0f} "
            f"relevant pairs, agree with the true homographies within {found['tolerance_px']:g} px."
        )
    return said + unreadable(report)


def unreadable(report: Report) -> list[str]:
    """A sentence for each role of which images could not be read."""
    said = []
    for role, images in report.skipped.items():
        if images:
            listed = ", ".join(f"{image['name']} ({image['reason']})" for image in images[:5])
            more = f" and {len(images) - 5} more" if len(images) > 5 else ""
            said.append(f"{len(images)} {role} images could not be read and count as not found: {listed}{more}.")
    return said


def warnings(report: Report) -> list[str]:
    """Why the numbers are not those of the benchmark's name and protocol, a sentence each."""
    truth = report.settings.get("ground_truth")
    said = [f"GROUND TRUTH: {truth}"] if truth else []
    return said + [f"PROTOCOL MISMATCH: {sentence}" for sentence in report.settings.get("protocol_mismatch", ())]


def without_positives(report: Report) -> list[str]:
    """A sentence for each protocol under which queries have no right image, with the first of them."""
    said = []
    for protocol, count in report.settings.get("queries_without_positives", {}).items():
        values: list[float] = next((row[protocol] for row in report.queries["ap"].values()), [])
        names = [name for name, value in zip(report.queries["names"], values) if math.isnan(value)][:NAMED]
        listed = f", such as {', '.join(names)}" if names else ""
        many = f"{count} queries have" if count > 1 else "1 query has"
        if count:
            said.append(f"{many} no positives under the protocol {protocol}{listed}.")
    return said


def metrics_txt(report: Report) -> str:
    """``metrics.txt``: a block for each protocol and row, sorted by name, see :func:`block_suffix`.

    Where the first metric is mAP, as released: of the model under test alone; baselines stand in ``report.json``.
    """
    first, blocks = report.rows[0].method.partition("+")[0], {}
    for row in report.rows:
        for protocol, values in row.metrics.items():
            name = protocol + block_suffix(row.method, first)
            if report.measure != "mAP":
                blocks[name] = "".join(f"  {metric}={value:.2f}\n" for metric, value in values.items())
            elif row.method.partition("+")[0] == FIRST_STAGE:
                recalls = report.recalls.get(row.method, {}).get(protocol, {})
                blocks[name] = _released_block(values, recalls)
    return "".join(f"{name}\n{blocks[name]}" for name in sorted(blocks))


def block_suffix(row: str, first: str) -> str:
    """What a row's blocks of ``metrics.txt`` are called besides their protocol or part.

    Nothing for the first stage ``first``, ``_after_gv`` after geometric verification (RANSAC), ``_after_NAME`` after
    another reranker, ``_NAME`` for another first stage.

    >>> block_suffix("global", "global"), block_suffix("global+ransac", "global"), block_suffix("rootsift", "global")
    ('', '_after_gv', '_rootsift')
    """
    method, _, reranker = row.partition("+")
    after = f"_after_{'gv' if reranker == 'ransac' else reranker}" if reranker else ""
    return ("" if method == first else f"_{method}") + after


def _released_block(values: dict[str, float], recalls: dict[str, float]) -> str:
    """mAP, precisions and recalls as NumPy prints them, which is the released form."""
    lines = [f"  mAP={np.around(values['mAP'], decimals=2)}\n"]
    for kind, found in (("mP", values), ("mR", recalls), ("R", values), ("mAP", values)):
        ranks = [int(name.partition("@")[2]) for name in found if name.startswith(f"{kind}@")]
        if ranks:
            percent = np.around([found[f"{kind}@{k}"] for k in ranks], decimals=2)
            lines.append(f"  {kind}@k{np.array(ranks)} {percent}\n")
    return "".join(lines)


FEW = 8  # below this number of groups the report explains the consequences


def fixed(value: float, sign: bool = False) -> str:
    """Two digits; a dash where there is no number, and no minus before zeros.

    >>> fixed(-1e-15, sign=True), fixed(-0.004), fixed(-1.5)
    ('+0.00', '0.00', '-1.50')
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, 2) + 0.0
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def intervals(report: Report) -> Table | None:
    """The first measure, and R@k, with intervals for each row and protocol; None where the report has none."""
    if not report.statistics.get("intervals"):
        return None
    columns = [(measure, p) for measure in _measures(report) for p in report.protocols]
    single = len(report.protocols) == 1
    head = ["method", *(measure if single else f"{measure} {protocol}" for measure, protocol in columns)]
    found = {measure: entry["intervals"] for measure, entry in _measures(report).items()}
    return head, [[row, *(_interval(found[m][row][p]) for m, p in columns)] for row in report.statistics["intervals"]]


def _measures(report: Report) -> dict[str, dict[str, Any]]:
    """Intervals and paired changes of the first measure, then of each R@k."""
    return {report.measure: report.statistics} | report.statistics.get("hits", {})


def _interval(values: dict[str, float]) -> str:
    return f"{fixed(values['mean'])} [{fixed(values['low'])}, {fixed(values['high'])}]"


def paired(report: Report) -> Table | None:
    """Each row against what it is to better, in the first two measures; None where there is no second row."""
    lines = [
        [row, entry["against"], protocol, measure, *change_cells(change)]
        for measure, statistics in list(_measures(report).items())[:2]
        for row, entry in statistics.get("paired", {}).items()
        for protocol, change in entry["protocols"].items()
    ]
    return (["method", "against", "protocol", "measure", *CHANGE], lines) if lines else None


CHANGE = ("change", "95 % interval", "p", "p corrected")


def change_cells(change: dict[str, float]) -> list[str]:
    """A paired change for reading: ``+1.20``, ``[-0.10, +2.50]``, ``0.071``, ``0.142``."""
    ends = f"[{fixed(change['low'], sign=True)}, {fixed(change['high'], sign=True)}]"
    return [fixed(change["difference"], sign=True), ends, *(_p(change[key]) for key in ("p", "p_corrected"))]


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def published(report: Report) -> Table | None:
    """Published values beside ours; None where the benchmark has none."""
    if not report.published:
        return None
    head = ["model", "row", "protocol", "published mAP", "ours", "difference", "source"]
    return head, [_line(entry) for entry in report.published]


def _line(entry: dict[str, Any]) -> list[str]:
    ours = [fixed(entry["ours"]), fixed(entry["difference"], sign=True)] if "ours" in entry else ["–", "–"]
    return [entry["model"], entry["row"], entry["protocol"], fixed(entry["published"]), *ours, entry["source"]]


def _numbers(report: Report) -> tuple[str, dict[str, int]]:
    """What is drawn anew, and how many of it under each protocol: queries without a value there have no part."""
    grouped, numbers, shared = grouped_of(report.queries), {}, False
    rows = samples(report.queries, report.measure)[report.measure].values()
    for protocol in report.protocols:
        valued = np.any([row[protocol].valued for row in rows], axis=0)
        numbers[protocol] = len(np.unique(grouped[valued]))
        shared = shared or numbers[protocol] < int(valued.sum())
    by_answers = "groups of queries that share right answers" if shared else "single queries"
    return report.queries.get("drawn", by_answers), numbers


def _listed(what: str, numbers: dict[str, int]) -> str:
    if len(set(numbers.values())) == 1:
        return f"{next(iter(numbers.values()))} {what}{' of each protocol' if len(numbers) > 1 else ''}"
    return f"{what}, {', '.join(f'{number} {protocol}' for protocol, number in numbers.items())}"


def _few(what: str, numbers: dict[str, int]) -> list[str]:
    """What follows from small numbers of groups, a sentence for each."""
    noun, few = what.partition(" of ")[0], sorted({number for number in numbers.values() if 0 < number < FEW})
    found = [f"Fewer than {LEAST} {noun} have no interval."] if few and few[0] < LEAST else []
    for number in few:
        wide = "intervals are wide, and " if number >= LEAST else ""
        found += [f"With {number} {noun} {wide}no p can be below {2.0 ** (1 - number):.2g}."] if number > 1 else []
    return found


def statistics_notes(report: Report) -> list[str]:
    """What a reader has to know about these tables, a sentence each."""
    found = []
    if report.statistics:
        test = "sign-flip test of the paired change"
        if "places" in report.queries:
            test = "exchange of the two methods' answers and their places; of means a sign-flip test"
        what, numbers = _numbers(report)
        found.append(
            f"Intervals: {100 * report.statistics['level']:g} % bootstrap over {_listed(what, numbers)}. "
            f"p: {test}; corrected (Holm) for the number of rows of a measure. They tell "
            "how far the choice of queries moves a number, not what another training or data set would give."
        )
        found += _few(what, numbers)
    if report.published and not any("ours" in entry for entry in report.published):
        found.append("No difference is shown as it is not said which published model this is (--published=MODEL).")
    return found
