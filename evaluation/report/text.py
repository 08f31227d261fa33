"""The report as text: an aligned table, a Markdown page, and the released ``metrics.txt``."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.benchmarks.method import FIRST_STAGE
from evaluation.report.model import Report, Row
from evaluation.statistics.bootstrap import LEAST
from evaluation.statistics.summary import grouped_of, samples

Table = tuple[list[str], list[list[str]]]
COST = ("search ms", "rerank ms", "global B", "local B")  # per query, per database image
MIN_WIDTH = 6  # smallest width of a column: 100.00
NAMED = 3  # largest number of named queries without positives
MEASURES = {
    "mAP": "Average precision is the area with trapezoids, as released with the revisited benchmarks; queries without "
    "positives have no part in the means.",
    "mAP@100": "mAP@100 is the finite sum of GLDv2 over the first 100 predictions, not the area with trapezoids; a "
    "query without a prediction or without a relevant image counts as 0. A mean or median position is the place of the "
    "first relevant image, 101 where there is none.",
    "GAP": "GAP, the global average precision, is of one list of all predictions, highest score first. The value of a "
    "single query is the precision of that list down to its prediction where the prediction is right, else 0; the mean "
    "of these values is GAP. top-1 is the share of the queries with a landmark whose prediction is right.",
}
JUNK_NOTES = {
    "keep": "The whole ranking is reranked, junk included; junk is passed over when it is scored.",
    "remove_before_rerank": "Per protocol, junk is taken out of the first-stage ranking, then it is reranked, then "
    "scored.",
}


def header(report: Report) -> list[str]:
    """Column names: the method, each protocol's metrics, time and size."""
    quality = [f"{metric} {protocol}" for protocol, metrics in columns_of(report).items() for metric in metrics]
    return ["method", *quality, *(COST if report.costed else ())]


def columns_of(report: Report) -> dict[str, list[str]]:
    """The metrics that tables show of each protocol: without mP@1 where it is R@1 in every row."""
    columns = {}
    for protocol in report.protocols:
        rows = [row.metrics[protocol] for row in report.rows]
        twice = all(number(row.get("mP@1", 0)) == number(row.get("R@1", 1)) for row in rows)
        columns[protocol] = [metric for metric in rows[0] if metric != "mP@1" or not twice]
    return columns


def cells(report: Report, row: Row) -> list[str]:
    """The rounded cells of a row; cells of :data:`COST` come last."""
    quality = [number(row.metrics[protocol][m]) for protocol, metrics in columns_of(report).items() for m in metrics]
    times, sizes = row.costs[:2], row.costs[2:]
    return [row.method, *quality, *map(number, times), *(number(size, 0) for size in sizes)]


def number(value: float, digits: int = 2) -> str:
    """A number with fixed digits; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def plain(report: Report, columns: int | None = None) -> str:
    """The results in aligned columns, for a terminal.

    Args:
      report: the results.
      columns: width of the terminal; the protocols of a wider table are placed one below the other. None for no limit.

    Returns:
      The text; every line ends in a newline.
    """
    first = [["", "method"], *(["", row.method] for row in report.rows)]
    groups = [
        [[protocol, *metrics]]
        + [["", *(number(row.metrics[protocol][metric]) for metric in metrics)] for row in report.rows]
        for protocol, metrics in columns_of(report).items()
    ]
    if report.costed:
        groups.append([["", *COST], *(["", *cells(report, row)[-len(COST) :]] for row in report.rows)])
    whole = _beside(first, *groups)
    if columns is None or max(map(len, whole)) <= columns:
        return "\n".join(whole) + "\n"
    return "\n\n".join("\n".join(_beside(first, group)) for group in groups) + "\n"


def _beside(*groups: Sequence[Sequence[str]]) -> list[str]:
    """Joins groups of columns; the first line of a group holds its title, then the column names."""
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
    """``report.md``: results, notes, statistics, settings and versions."""
    lines = [f"# {report.benchmark}", "", *_results(report, "##")]
    lines += ["", "## Settings", "", *_table(["setting", "value"], flat(report.settings))]
    lines += ["", "## Versions", "", *_table(["part", "version"], [[k, v] for k, v in report.versions.items()])]
    return "\n".join(lines) + "\n"


def of_card(report: Report) -> str:
    """The results for the card of a model, in Markdown: the same without the settings but those of the features."""
    settings = report.settings
    counts = [
        f"{settings[name]} {word}"
        for name, word in (("queries", "queries"), ("database", "images"))
        if name in settings
    ]
    features = {name: settings["features"][name] for name in list(settings.get("features", {}))[:1]}
    made = [(key, value) for key, value in flat(features) if not key.endswith("source_sha256")]
    lines = [f"### {report.benchmark}: {', '.join(counts)}", "", *_results(report, "####")]
    return "\n".join([*lines, "", "#### Features", "", *_table(["setting", "value"], made)])


def _results(report: Report, heading: str) -> list[str]:
    """The table of results, notes and statistics, as lines of Markdown."""
    cost = " Times are milliseconds per query; sizes are bytes per database image." if report.costed else ""
    lines = [
        *(line for sentence in warnings(report) for line in (f"**{sentence}**", "")),
        headline(report),
        "",
        *_table(header(report), [cells(report, row)[: len(header(report))] for row in report.rows], numbers=True),
        "",
        f"Quality in percent.{cost}",
        "",
        *(f"- {note}" for note in notes(report)),
    ]
    for title, table in sections(report):
        lines += ["", f"{heading} {title}", "", *_table(*table)]
    return lines


def sections(report: Report) -> list[tuple[str, Table]]:
    """The tables of statistics and published values, each with a title."""
    tables = {
        "Confidence": intervals(report),
        "Changes": paired(report),
        "Changes between the other rows": between(report),
        "Published values": published(report),
    }
    return [(title, table) for title, table in tables.items() if table]


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A setting as lines ``(key, value)``; nested settings get dotted keys.

    >>> flat({"rerank": {"k": 9}, "scales": [1, 2]})
    [('rerank.k', '9'), ('scales', '1, 2')]
    """
    if isinstance(value, dict):
        return [line for key, item in value.items() for line in flat(item, f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value))]


def notes(report: Report) -> list[str]:
    """Notes on the numbers besides :func:`warnings`, a sentence each."""
    sentences = [MEASURES[report.measure]] if report.measure in MEASURES else []
    if "junk" in report.settings:
        sentences.append(JUNK_NOTES[report.settings["junk"]])
    if any(metric.startswith("R@") for row in report.rows for values in row.metrics.values() for metric in values):
        counted = ", those without right images counted as failures,"
        of_all = counted if report.settings.get("queries_without_positives_count") else ""
        sentences.append(f"R@k is the share of queries{of_all} with any right image among the first k results.")
    if any(row.ms_per_query.get("rerank") for row in report.rows):
        sentences.append(
            "Rerank time is measured with nothing remembered from an earlier protocol; it includes reading the local "
            "features."
        )
    if "pictures" in report.settings:
        sentences.append(report.settings["pictures"])
    sentences += report.settings.get("protocol_unknown", ())
    sentences += report.settings.get("version_differences", ())
    if "rootsift_row" in report.settings:
        sentences.append(report.settings["rootsift_row"])
    if "training_overlap" in report.settings:
        sentences.append(report.settings["training_overlap"])
    sentences += statistics_notes(report)
    if further_measures := list(report.statistics.get("hits", {}))[1:]:
        sentences.append(f"The changes of {', '.join(further_measures)} are in report.json.")
    sentences += without_positives(report)
    for method, record in report.inlier_accuracy.items():
        sentences.append(
            f"{method}: {number(record['percent'])} % of {record['inliers']:.0f} inliers, over {record['pairs']:.0f} "
            f"relevant pairs, agree with the true homographies within {record['tolerance_px']:g} px."
        )
    return sentences + unreadable(report)


def unreadable(report: Report) -> list[str]:
    """A sentence for each role with unreadable images."""
    sentences = []
    for role, images in report.skipped.items():
        if images:
            listed = ", ".join(f"{image['name']} ({image['reason']})" for image in images[:5])
            further = f" and {len(images) - 5} more" if len(images) > 5 else ""
            many = f"1 {role} image could not be read and counts"
            many = f"{len(images)} {role} images could not be read and count" if len(images) > 1 else many
            sentences.append(f"{many} as not found: {listed}{further}.")
    return sentences


def warnings(report: Report) -> list[str]:
    """Reasons why the numbers differ from the benchmark's name and protocol, a sentence each."""
    truth = report.settings.get("ground_truth")
    sentences = [f"GROUND TRUTH: {truth}"] if truth else []
    return sentences + [f"PROTOCOL MISMATCH: {sentence}" for sentence in report.settings.get("protocol_mismatch", ())]


def without_positives(report: Report) -> list[str]:
    """A sentence for each protocol with queries without right images; names the first of these queries."""
    sentences = []
    for protocol, count in report.settings.get("queries_without_positives", {}).items():
        values: list[float] = next((row[protocol] for row in report.queries["ap"].values()), [])
        names = [name for name, value in zip(report.queries["names"], values) if math.isnan(value)][:NAMED]
        listed = f", such as {', '.join(names)}" if names else ""
        many = f"{count} queries have" if count > 1 else "1 query has"
        if count:
            sentences.append(f"{many} no positives under the protocol {protocol}{listed}.")
    for part, count in report.settings.get("queries_without_features", {}).items():
        if count:
            sentences.append(f"{part}: queries without features, which count as not found: {count}.")
    return sentences


def metrics_txt(report: Report) -> str:
    """``metrics.txt``: a block for each protocol and row, sorted by name, see :func:`block_suffix`.

    For the main metric mAP the file is as released: only the model under test; baselines are in ``report.json``.
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
    """The end of the names of a row's blocks in ``metrics.txt``, after the protocol or part.

    Empty for the first stage ``first``, ``_after_gv`` after geometric verification (RANSAC), ``_after_NAME`` after
    another reranker, ``_NAME`` for another first stage.

    >>> block_suffix("global", "global"), block_suffix("global+ransac", "global"), block_suffix("rootsift", "global")
    ('', '_after_gv', '_rootsift')
    """
    method, _, reranker = row.partition("+")
    after = f"_after_{'gv' if reranker == 'ransac' else reranker}" if reranker else ""
    return ("" if method == first else f"_{method}") + after


def _released_block(values: dict[str, float], recalls: dict[str, float]) -> str:
    """mAP, precisions and recalls in the released form, as NumPy prints them."""
    lines = [f"  mAP={np.around(values['mAP'], decimals=2)}\n"]
    for kind, source in (("mP", values), ("mR", recalls), ("R", values), ("mAP", values)):
        ranks = [int(name.partition("@")[2]) for name in source if name.startswith(f"{kind}@")]
        if ranks:
            percent = np.around([source[f"{kind}@{k}"] for k in ranks], decimals=2)
            lines.append(f"  {kind}@k{np.array(ranks)} {percent}\n")
    return "".join(lines)


FEW = 8  # below this number of groups the report explains the consequences


def fixed(value: float, sign: bool = False) -> str:
    """Two digits; a dash for NaN, and no minus before zeros.

    >>> fixed(-1e-15, sign=True), fixed(-0.004), fixed(-1.5)
    ('+0.00', '0.00', '-1.50')
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, 2) + 0.0
    return f"{rounded:+.2f}" if sign else f"{rounded:.2f}"


def intervals(report: Report) -> Table | None:
    """The main measure and R@k, with intervals for each row and protocol; None for a report without intervals."""
    if not report.statistics.get("intervals"):
        return None
    columns = [(measure, p) for measure in _measures(report) for p in report.protocols]
    single = len(report.protocols) == 1
    head = ["method", *(measure if single else f"{measure} {protocol}" for measure, protocol in columns)]
    intervals_of_measure = {measure: entry["intervals"] for measure, entry in _measures(report).items()}
    return head, [
        [row, *(_interval(intervals_of_measure[m][row][p]) for m, p in columns)]
        for row in report.statistics["intervals"]
    ]


def _measures(report: Report) -> dict[str, dict[str, Any]]:
    """Intervals and paired changes of the main measure, then of each R@k."""
    return {report.measure: report.statistics} | report.statistics.get("hits", {})


def _interval(values: dict[str, float]) -> str:
    return f"{fixed(values['mean'])} [{fixed(values['low'])}, {fixed(values['high'])}]"


def paired(report: Report) -> Table | None:
    """Each row against its reference row, in the first two measures; None where there is no second row."""
    lines = [
        [row, entry["against"], protocol, measure, *change_cells(change)]
        for measure, statistics in list(_measures(report).items())[:2]
        for row, entry in statistics.get("paired", {}).items()
        for protocol, change in entry["protocols"].items()
    ]
    return (["method", "against", "protocol", "measure", *CHANGE], lines) if lines else None


def between(report: Report) -> Table | None:
    """All other pairs of rows, in the main measure; None where there are none."""
    lines = [
        [entry["row"], entry["against"], protocol, *change_cells(change)]
        for entry in report.statistics.get("between", ())
        for protocol, change in entry["protocols"].items()
    ]
    return (["method", "against", "protocol", *CHANGE], lines) if lines else None


def headline(report: Report) -> str:
    """The result in a sentence: the best row of the main protocol, what it gains, and what it costs."""
    protocol, measure = report.main_protocol, report.measure
    first, where = report.rows[0], f" ({protocol})" if len(report.protocols) > 1 else ""
    best = max(report.rows, key=lambda row: np.nan_to_num(row.metrics[protocol][measure], nan=-math.inf))
    value = best.metrics[protocol][measure]
    sentence = f"{best.method} is best: {measure} {number(value, 1)}{where}"
    if len(report.rows) == 1:
        sentence = f"{best.method}: {measure} {number(value, 1)}{where}"
    elif best is not first:
        sentence += f", {value - first.metrics[protocol][measure]:+.1f} over {first.method}"
    if not math.isnan(best.costs[0]):
        milliseconds = float(np.nansum(best.costs[:2]))
        time = f"{milliseconds:.3g} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
        sentence += f", at {time} a query"
    others = [row for row in _changes(report) if row["row"] == best.method or row["against"] == best.method]
    unclear = [
        row["against"] if row["row"] == best.method else row["row"]
        for row in others
        if not row["protocols"][protocol]["p_corrected"] < SIGNIFICANT
    ]
    if unclear:
        sentence += f"; chance may explain its difference to {', '.join(unclear)}"
    return f"{sentence}."


def _changes(report: Report) -> list[dict[str, Any]]:
    """The paired changes of the main measure, of all pairs of rows."""
    against = report.statistics.get("paired", {})
    return [{"row": row, **entry} for row, entry in against.items()] + list(report.statistics.get("between", ()))


def disagreements(report: Report) -> list[str]:
    """A sentence where an interval leaves out zero and the p-value is large, or the reverse."""
    found = [
        f"{entry['row']} against {entry['against']} ({protocol})"
        for entry in _changes(report)
        for protocol, change in entry["protocols"].items()
        if not math.isnan(change["p_corrected"] + change["low"] + change["high"])
        if (change["low"] > 0 or change["high"] < 0) != (change["p_corrected"] < SIGNIFICANT)
    ]
    if not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return [
        f"Interval and corrected p disagree for {', '.join(found[:NAMED])}{more}: one leaves out zero, one not. The "
        "interval is of one row alone, p is corrected for all of them; take such a difference as unclear."
    ]


SIGNIFICANT = 0.05
CHANGE = ("change", "95 % interval", "p", "p corrected")


def change_cells(change: dict[str, float]) -> list[str]:
    """The formatted cells of a paired change: ``+1.20``, ``[-0.10, +2.50]``, ``0.071``, ``0.142``."""
    ends = f"[{fixed(change['low'], sign=True)}, {fixed(change['high'], sign=True)}]"
    return [fixed(change["difference"], sign=True), ends, *(_p(change[key]) for key in ("p", "p_corrected"))]


def _p(value: float) -> str:
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def published(report: Report) -> Table | None:
    """Published values beside ours; None for a benchmark without published values."""
    if not report.published:
        return None
    head = ["model", "row", "protocol", "published mAP", "ours", "difference", "source"]
    return head, [_line(entry) for entry in report.published]


def _line(entry: dict[str, Any]) -> list[str]:
    our_cells = [fixed(entry["ours"]), fixed(entry["difference"], sign=True)] if "ours" in entry else ["–", "–"]
    return [entry["model"], entry["row"], entry["protocol"], fixed(entry["published"]), *our_cells, entry["source"]]


def _numbers(report: Report) -> tuple[str, dict[str, int]]:
    """The unit that the bootstrap draws, and the number of units under each protocol, without queries without value."""
    grouped, numbers, shared = grouped_of(report.queries), {}, False
    rows = samples(report.queries, report.measure)[report.measure].values()
    for protocol in report.protocols:
        valued = np.any([row[protocol].valued for row in rows], axis=0)
        numbers[protocol] = len(np.unique(grouped[valued]))
        shared = shared or numbers[protocol] < int(valued.sum())
    by_answers = "groups of queries that share right answers" if shared else "single queries"
    return report.queries.get("drawn", by_answers), numbers


def _listed(unit: str, numbers: dict[str, int]) -> str:
    if len(set(numbers.values())) == 1:
        return f"{next(iter(numbers.values()))} {unit}{' of each protocol' if len(numbers) > 1 else ''}"
    return f"{unit}, {', '.join(f'{number} {protocol}' for protocol, number in numbers.items())}"


def _few(unit: str, numbers: dict[str, int]) -> list[str]:
    """The consequences of small numbers of groups, a sentence each."""
    noun, few = unit.partition(" of ")[0], sorted({number for number in numbers.values() if 0 < number < FEW})
    sentences = [f"Fewer than {LEAST} {noun} have no interval."] if few and few[0] < LEAST else []
    for number in few:
        wide = "intervals are wide, and " if number >= LEAST else ""
        sentences += [f"With {number} {noun} {wide}no p can be below {2.0 ** (1 - number):.2g}."] if number > 1 else []
    return sentences


def statistics_notes(report: Report) -> list[str]:
    """Notes on the tables of statistics and published values, a sentence each."""
    sentences = []
    if report.statistics:
        test = "sign-flip test of the paired change"
        if "places" in report.queries:
            test = "exchange of the two methods' predictions and their places; of means a sign-flip test"
        unit, numbers = _numbers(report)
        sentences.append(
            f"Intervals: {100 * report.statistics['level']:g} % bootstrap over {_listed(unit, numbers)}. "
            f"p: {test}; corrected (Holm) for the number of rows of a measure. They tell "
            "how far the choice of queries moves a number, not what another training or data set would give."
        )
        sentences += [*_few(unit, numbers), *disagreements(report)]
    if report.published and not any("ours" in entry for entry in report.published):
        sentences.append("No difference is shown as it is not said which published model this is (--published=MODEL).")
    return sentences
