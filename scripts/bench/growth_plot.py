"""Draws how search grows with the database: what scripts/bench.sh growth measured, and beyond it on paper."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

PAPER = np.array([1e6, 1e7, 1e8, 1e9])
FLOAT16, LOCAL, BINARY = 4096, 536_000, 21_152  # bytes of 2048 values; of 1000 local features of 128 values
EXACT, INDEX = "exact, float16", "ivf_pq"
MODULES = {EXACT: "search_1m_exact", INDEX: "search_1m_index"}
# Of an index the work is the centres, 4 sqrt(N) of them, and 16 lists of sqrt(N) / 4 rows each.
GROWTH = {EXACT: lambda n: n / PAPER[0], INDEX: lambda n: np.sqrt(n / PAPER[0])}


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
    for colour, (label, module) in zip(("C0", "C1"), MODULES.items()):
        rows = [found[name] for name in sorted(found, key=_size) if name.startswith(f"{module}@")]
        sizes = [_size(row["name"]) for row in rows]
        for style, what, values in (
            ("o-", "100 at once", [1000 * row["ours"] for row in rows]),
            ("s:", "alone", [row["notes"]["one query alone, ms"] for row in rows]),
        ):
            time.plot(sizes, values, style, color=colour, label=f"{label}, queries {what}")
            if sizes and sizes[-1] == PAPER[0]:
                time.plot(PAPER, values[-1] * GROWTH[label](PAPER), "--", color=colour, alpha=0.4)
        if label == INDEX:
            bytes_each = [1e6 * row["notes"]["index, MB"] / size for row, size in zip(rows, sizes)]
            space.plot(sizes, [each * size for each, size in zip(bytes_each, sizes)], "o-", color=colour, label=label)
            space.plot(PAPER, bytes_each[-1] * PAPER, "--", color=colour, alpha=0.4)
    every = np.concatenate([[1e4, 1e5], PAPER])
    space.plot(every, FLOAT16 * every, "-", color="C0", label="global descriptors, float16")
    space.plot(every, LOCAL * every, "-", color="C3", label="1000 local features, float32")
    space.plot(every, BINARY * every, "-", color="C2", label="1000 local features, binary")
    _finish(time, "milliseconds a query")
    _finish(space, "bytes")
    with mpl.rc_context({"svg.hashsalt": "growth"}):
        figure.savefig(picture, metadata={"Date": None})
    plt.close(figure)
    return picture


def _size(name: str) -> int:
    return int(name.partition("@")[2])


def _finish(axes: Any, what: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="images in the database", ylabel=what)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
