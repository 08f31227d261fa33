"""How far the numbers of a report can be trusted, as tables: intervals, paired changes, published values."""

import math
from typing import Any

import numpy as np

from evaluation.report.model import Report
from evaluation.statistics.bootstrap import LEAST
from evaluation.statistics.summary import grouped_of, samples

FEW = 8  # groups of which a reader is told what follows from their number
Table = tuple[list[str], list[list[str]]]


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


def said(report: Report) -> list[str]:
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
