"""Draws how search grows with the database: what scripts/bench.sh growth measured, and beyond it on paper."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from delg.common.files import atomic_path
from matching.indexes.faiss_kinds import IvfPq

mpl.use("Agg")
from matplotlib import pyplot as plt

DIMENSION = 2048
PAPER = np.array([1e6, 1e7, 1e8, 1e9])
FLOAT16, LOCAL, BINARY = 2 * DIMENSION, 536_000, 21_152  # bytes: a descriptor; 1000 local features of 128 values
CODE, RATE = DIMENSION / 16, 5e9  # bytes of a row's code; of codes that a core scans in a second (assumed)

Numbers = NDArray[np.float64]


def exact_on_paper(milliseconds: float) -> Numbers:
    """At the sizes of :data:`PAPER`, from the time at the first: every row costs the same."""
    return milliseconds * PAPER / PAPER[0]


def index_on_paper(milliseconds: float) -> Numbers:
    """Likewise of ``ivf_pq`` with its defaults: what grows is the codes of the lists that a query looks into."""
    kind = IvfPq()
    scanned = np.array([kind.nprobe * n / kind.lists(int(n), DIMENSION) for n in PAPER])
    return milliseconds + 1000 * CODE * (scanned - scanned[0]) / RATE


SEARCHES = (
    ("exact, float16", "search_1m_exact", "C0", exact_on_paper),
    ("exact, float16, a query alone", "search_alone", "C2", exact_on_paper),
    ("ivf_pq", "search_1m_index", "C1", index_on_paper),
)


def draw(measured: Path, picture: Path) -> Path:
    """Draws milliseconds a query and bytes of the database against its number of images.

    Args:
      measured: what the benchmark wrote.
      picture: SVG file.

    Returns:
      The picture's file.
    """
    found = {row["name"]: row for row in json.loads(measured.read_text(encoding="utf-8"))["rows"]}
    figure, (time, space) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for label, module, colour, on_paper in SEARCHES:
        rows = [found[name] for name in sorted(found, key=_size) if name.startswith(f"{module}@")]
        if not rows:
            continue
        sizes, milliseconds = [_size(row["name"]) for row in rows], [1000 * row["ours"] for row in rows]
        time.plot(sizes, milliseconds, "o-", color=colour, label=label)
        if "one query alone, ms" in rows[-1]["notes"]:
            alone = [row["notes"]["one query alone, ms"] for row in rows]
            time.plot(sizes, alone, "s:", color=colour, label=f"{label}, a query alone")
        if sizes[-1] == PAPER[0]:
            time.plot(PAPER, on_paper(milliseconds[-1]), "--", color=colour, alpha=0.5)
        if "index, MB" in rows[-1]["notes"]:
            held = [1e6 * row["notes"]["index, MB"] for row in rows]
            space.plot(sizes, held, "o-", color=colour, label=f"{label}: in memory")
            space.plot(PAPER, held[-1] / sizes[-1] * PAPER, "--", color=colour, alpha=0.5)
    every = np.concatenate([[1e4, 1e5], PAPER])
    for label, colour, each in (
        ("global descriptors, float16", "C0", FLOAT16),
        ("1000 local features, float32", "C3", LOCAL),
        ("1000 local features, binary", "C2", BINARY),
    ):
        space.plot(every, each * every, color=colour, label=label)
    _finish(time, "milliseconds a query")
    _finish(space, "bytes")
    with mpl.rc_context({"svg.hashsalt": "growth"}), atomic_path(picture) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    plt.close(figure)
    return picture


def _size(name: str) -> int:
    return int(name.partition("@")[2])


def _finish(axes: Any, what: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="images in the database (dashed: on paper)", ylabel=what)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
