"""The report as a single page that opens from disk, without network and with pictures inside; the script is optional.

The templates lie beside this file.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.report import charts, text
from evaluation.report.gallery import Card, Overlay
from evaluation.report.model import LOWER, Report
from evaluation.report.queries import Queries, per_query
from evaluation.report.tradeoff import tradeoff

HERE = Path(__file__).parent
ORDERS = (
    ("first", "worst of the first stage"),
    ("last", "worst of the last reranker"),
    ("change", "most hurt by reranking"),
)
BYTES = ("B", "kB", "MB", "GB")


@dataclass(frozen=True)
class Cell:
    """A cell of the results table."""

    text: str
    best: bool = False
    first: bool = False


@dataclass(frozen=True)
class Chart:
    """Average precision per query before and after a reranker."""

    method: str
    svg: Markup
    change: charts.Change


def render(report: Report, cards: Sequence[Card] = (), overlays: Sequence[Overlay] = ()) -> str:
    """The page.

    Args:
      report: the numbers.
      cards: ranking strips, worst query first.
      overlays: pictures of inlier matches.

    Returns:
      An HTML document.
    """
    protocol = report.main_protocol
    return page(
        "template.html",
        report=report,
        protocol=protocol,
        lead=_lead(report),
        table=results(report),
        columns=text.columns_of(report),
        headline=text.headline(report),
        tradeoff=None if (plot := tradeoff(report, protocol)) is None else Markup(plot),
        charts=ap_charts(report, protocol),
        queries=_queries(report, protocol),
        cards=cards,
        orders=ORDERS if any(len(card.strips) > 1 for card in cards) else ORDERS[:1],
        overlays=overlays,
        warnings=text.warnings(report),
        notes=text.notes(report),
        sections=text.sections(report),
        settings={key: text.flat(value) for key, value in report.settings.items()},
    )


def _queries(report: Report, protocol: str) -> Queries | None:
    """The rows of the model under test, query by query."""
    first = _first_row(report)
    ap = {row: values[protocol] for row, values in report.queries["ap"].items() if row.partition("+")[0] == first}
    return per_query(report.queries["names"], ap) if ap else None


def _first_row(report: Report) -> str:
    """The row of the model under test; scored submission files have a row with the file's name."""
    return report.rows[0].method.partition("+")[0]


def page(template: str, **values: object) -> str:
    """Fills in a template of this folder; every template also gets ``style``, ``script`` and the filter ``number``."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = text.number
    environment.filters["breakable"] = lambda name: re.sub(r"([+|:_=])", "\\1\u200b", name)
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    script = Markup((HERE / "page.js").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, script=script, **values)


def _lead(report: Report) -> str:
    """Number of images, and the name of their folder."""
    settings = report.settings
    against = f" against {settings['database']} database images" if "database" in settings else ""
    folder = Path(str(settings.get("data_dir", ""))).name
    return f"{settings.get('queries')} queries{against}" + (f" of {folder}." if folder else ".")


def size(number: float) -> str:
    """Formats bytes: ``512 B``, ``8.2 kB``, ``1.4 MB`` (decimal)."""
    step = 0
    if math.isnan(number):
        return "–"
    while number >= 1000 and step < len(BYTES) - 1:
        number, step = number / 1000, step + 1
    return f"{number:.0f} {BYTES[step]}" if step == 0 else f"{number:.1f} {BYTES[step]}"


def results(report: Report) -> list[list[Cell]]:
    """The table's body: method, quality, times and sizes of each row; the best of each quality column is marked."""
    columns = [(protocol, metric) for protocol, metrics in text.columns_of(report).items() for metric in metrics]
    best = {
        (protocol, metric): max(
            (text.number(row.metrics[protocol][metric]) for row in report.rows), key=partial(_goodness, metric)
        )
        for protocol, metric in columns
    }
    body = []
    for row in report.rows:
        cells = [Cell(row.method)]
        for protocol, metric in columns:
            shown = text.number(row.metrics[protocol][metric])
            first = metric == next(iter(row.metrics[protocol]))
            cells.append(Cell(shown, shown == best[protocol, metric] and len(report.rows) > 1, first))
        if report.costed:
            search, rerank, *sizes = row.costs
            cells.append(Cell(text.number(search), first=True))
            cells.append(Cell(text.number(rerank) if "+" in row.method else "–"))
            cells += [Cell(size(sizes[0]), first=True), Cell(size(sizes[1]))]
        body.append(cells)
    return body


def _goodness(metric: str, shown: str) -> float:
    """A key that is larger for better cells, and smallest for cells without a number."""
    try:
        return -float(shown) if metric in LOWER else float(shown)
    except ValueError:
        return -math.inf


def ap_charts(report: Report, protocol: str) -> list[Chart]:
    """A chart for each reranker of the model under test."""
    ap = report.queries["ap"]
    drawn = []
    for row in report.rows:
        first, _, reranker = row.method.partition("+")
        if first != _first_row(report) or not reranker or first not in ap:
            continue
        before, after = ap[first][protocol], ap[row.method][protocol]
        moved = charts.change(before, after)
        title = (
            f"{report.per_query} per query ({protocol}), {first} and {row.method}: {moved.better} better, "
            f"{moved.equal} equal, {moved.worse} worse"
        )
        svg = Markup(charts.ap_chart(report.queries["names"], before, after, title))
        drawn.append(Chart(row.method, svg, moved))
    return drawn
