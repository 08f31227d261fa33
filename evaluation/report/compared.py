"""Two reports side by side, as text and as a page that opens from disk."""

import math

from evaluation.report import html, trust
from evaluation.report.comparison import Comparison
from evaluation.report.queries import per_query

HEAD = ["row", "protocol", "measure", "A", "B", *trust.CHANGE]


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
                table.append([name, protocol, measure, *map(trust.fixed, values), *trust.change_cells(change)])
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
        notes=trust.said(second),
        pages=pages,
    )
