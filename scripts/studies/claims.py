"""Puts claims to the test on the reports of several seeds: changes of mAP with intervals over all landmarks.

Usage: python -m scripts.studies.claims FOLDER SEED SEED ...; the reports lie in FOLDER/SEED/float and
FOLDER/SEED/uint8, as ``scripts/studies/claims.sh`` makes them.
"""

import argparse
from pathlib import Path

import numpy as np

from delg.common.errors import InputError
from delg.common.files import write_text
from evaluation.report.compare import read_report
from evaluation.report.model import Report
from evaluation.report.text import change_cells
from evaluation.statistics.bootstrap import compare, holm
from scripts.studies.guard import guarded

PROTOCOL = "medium"
FIRST, RANSAC, BASE = ("float", "global"), ("float", "global+ransac"), ("float", "global+superglobal(m=100)")
CLAIMS = [  # what, against what, the change to it
    ("RANSAC against the first stage", FIRST, RANSAC),
    ("SuperGlobal against the first stage", FIRST, BASE),
    ("SuperGlobal against RANSAC, 100 candidates each", RANSAC, BASE),
    ("uint8 against float32 local features, RANSAC", RANSAC, ("uint8", "global+ransac")),
]
SWITCHES = ("m=50", "m=200", "m=100, k=4", "m=100, k=18", "m=100, beta=0.05", "m=100, beta=0.5")
SWITCHES += ("m=100, expanded_against='original'",)
CLAIMS += [
    (f"SuperGlobal({switch}) against m=100", BASE, ("float", f"global+superglobal({switch})")) for switch in SWITCHES
]
Name = tuple[str, str]


def read(place: Path) -> Report:
    """A report that has the rows and the protocol of the claims.

    Raises:
      InputError: it is missing, or lacks one.
    """
    report = read_report(place)
    for name, row in dict.fromkeys(side for _, *sides in CLAIMS for side in sides):
        if name == place.name and PROTOCOL not in report.row(row).metrics:
            raise InputError(f"{place} has no protocol {PROTOCOL}; its protocols are {', '.join(report.protocols)}.")
    return report


def pooled(reports: list[dict[str, Report]], name: Name) -> list[float]:
    """Average precision of every query of every seed."""
    return [value for found in reports for value in found[name[0]].queries["ap"][name[1]][PROTOCOL]]


def cost(reports: list[dict[str, Report]], name: Name) -> str:
    """Milliseconds per query of the reranker: of each seed."""
    return " / ".join(f"{found[name[0]].row(name[1]).ms_per_query['rerank']:.1f}" for found in reports)


def table(reports: list[dict[str, Report]]) -> list[str]:
    """The claims, a line of Markdown each."""
    groups, offset = [], 0
    for found in reports:
        own = np.array(found["float"].queries["groups"])
        groups.append(own + offset)
        offset += int(own.max()) + 1
    grouped = np.concatenate(groups)
    changes = [compare(pooled(reports, one), pooled(reports, other), grouped) for _, one, other in CLAIMS]
    head = ["claim", "mAP", "to mAP", "change", "95 % interval", "p", "p corrected", "rerank ms of each seed"]
    lines = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    corrected = holm([change.p for change in changes])
    for (what, one, other), change, p in zip(CLAIMS, changes, corrected, strict=True):
        means = [f"{np.nanmean(pooled(reports, name)):.2f}" for name in (one, other)]
        cells = change_cells(vars(change) | {"p_corrected": p})
        lines.append(f"| {' | '.join([what, *means, *cells, cost(reports, other)])} |")
    return lines


def main() -> None:
    """Reads, prints, writes ``claims.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("seeds", nargs="+")
    asked = parser.parse_args()
    folder, seeds = asked.folder, asked.seeds
    reports = [{name: read(folder / seed / name) for name in ("float", "uint8")} for seed in seeds]
    queries = sum(len(found["float"].queries["names"]) for found in reports)
    lines = [f"Protocol {PROTOCOL}, {len(seeds)} seeds, {queries} queries.", "", *table(reports)]
    write_text(folder / "claims.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    guarded(main)
