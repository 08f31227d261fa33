"""Measures the rows of a subject, each in a process of its own; prints a table, writes bench/SUBJECT.json.

A row is a module ``scripts/bench/NAME.py`` with ``row(options) -> dict``, ``NAME@ROWS`` for a module that is to
search so many database rows, or ``NAME:KIND@ROWS`` for a module that measures several kinds; it gives ``name``,
``ours``, ``reference``, ``unit`` and ``bound``, where ``ours``, ``reference`` and ``bound`` are seconds per ``unit`` of
work (None for what there is not), and, if it likes, ``notes``: further numbers by name. Rows that were measured before
and are not asked for stay in the file.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from delg.common.errors import InputError
from delg.common.files import write_json
from evaluation.run.versions import packages
from scripts.bench.measure import Options
from scripts.bench.rerank import WORKS

SIZES = (10_000, 100_000, 1_000_000)
GROWING = ("search_1m_exact", "search_alone", "search_1m_index")
SUBJECTS = {
    "extraction": (
        *("extract_lite2", "extract_float32", "extract_bfloat16", "extract_int8"),
        *("extract_memory", "extract_store"),
    ),
    "growth": tuple(f"{name}@{rows}" for name in GROWING for rows in SIZES),
    "matching": ("ransac_rerank", "binary_match", "superglobal_rerank"),
    "rerankers": tuple(f"rerank:{kind}@{features}" for kind, work in WORKS.items() for features in work.features),
    "search": GROWING,
    "serve": ("serve_search",),
    "training": ("train_step_r50", "input_pipeline", "sampled_head"),
}
PACKAGES = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "scikit-image",
    "faiss-cpu",
    "tensorflow",
    "keras",
    "openvino",
)
FIELDS = ("name", "ours", "reference", "unit", "ratio", "bound", "of_bound")

Row = dict[str, Any]


def measured(name: str, options: Options) -> Row:
    """Measures one row in this process, and completes it with its ratios."""
    path, _, rows = name.partition("@")
    module, _, kind = path.partition(":")
    options = replace(options, kind=kind, rows=int(rows) if rows else options.rows)
    found = importlib.import_module(f"scripts.bench.{module}").row(options) | {"name": name}
    ours, reference, bound = (found.get(key) for key in ("ours", "reference", "bound"))
    ratios = {"ratio": reference and reference / ours, "of_bound": bound and bound / ours}
    return {key: (found | ratios).get(key) for key in FIELDS} | {"notes": found.get("notes", {})}


def in_new_process(name: str, options: Options) -> Row:
    """The same in a fresh process, so that no row pays for another's memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, name, options).result()


def machine() -> dict[str, Any]:
    """Processor, cores and memory."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    return {"processor": model, "cores": cores, "memory_bytes": memory, "system": platform.platform()}


def commit() -> str:
    """The commit that is measured, with a + where files differ from it; empty outside a checkout."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def merge(path: Path, row: Row, order: Sequence[str]) -> None:
    """Puts a row into the file, in place of an earlier one of its name; each tells its commit and day."""
    row = row | {"commit": commit(), "day": date.today().isoformat()}
    old = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = {entry["name"]: entry for entry in old} | {row["name"]: row}
    known = [rows[name] for name in order if name in rows]
    write_json(path, {"rows": known, "machine": machine(), "versions": packages(PACKAGES)})


def table(rows: Sequence[Row]) -> str:
    """The rows in words, times in milliseconds."""
    lines = [f"{'row':24}{'ours':>12}{'reference':>12}{'ratio':>9}{'bound':>12}{'of bound':>10}  unit (times in ms)"]
    for row in rows:
        times = {key: "-" if row[key] is None else f"{1000 * row[key]:.3f}" for key in ("ours", "reference", "bound")}
        ratio = "-" if row["ratio"] is None else f"{row['ratio']:.1f} x"
        share = "-" if row["of_bound"] is None else f"{row['of_bound']:.2f}"
        lines.append(
            f"{row['name']:24}{times['ours']:>12}{times['reference']:>12}{ratio:>9}{times['bound']:>12}{share:>10}"
            f"  {row['unit']}"
        )
        lines += [f"    {name}: {value}" for name, value in row["notes"].items()]
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments, measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__.splitlines()[0])
    parser.add_argument("subject", choices=sorted(SUBJECTS))
    parser.add_argument("--rows", type=int, default=Options.rows, help="database rows of the search rows")
    parser.add_argument("--repeats", type=int, default=Options.repeats, help="rounds that medians are of")
    parser.add_argument("--threads", type=int, default=Options.threads)
    parser.add_argument("--only", default="", help="names of rows, with commas; the others are left as they were")
    arguments = parser.parse_args()
    names = SUBJECTS[arguments.subject]
    chosen = [name.strip() for name in arguments.only.split(",") if name.strip()] or list(names)
    if set(chosen) - set(names):
        parser.error(f"--only expects some of {', '.join(names)}. Received: {arguments.only!r}")
    if min(arguments.rows, arguments.repeats, arguments.threads) < 1:
        parser.error("--rows, --repeats and --threads expect 1 or more.")
    options = Options(arguments.rows, arguments.repeats, arguments.threads)
    options.folder.mkdir(exist_ok=True)
    rows = []
    for name in chosen:
        print(f"{name} ...", flush=True)
        try:
            rows.append(in_new_process(name, options))
        except InputError as error:  # such as a processor without bfloat16
            print(f"{name} is left out: {error}", flush=True)
            continue
        merge(options.folder / f"{arguments.subject}.json", rows[-1], names)
    print(table(rows))
    print(f"written: {options.folder / arguments.subject}.json")
    if arguments.subject == "growth":
        from scripts.bench.growth_plot import draw

        print(f"written: {draw(options.folder / 'growth.json', options.folder / 'growth.svg')}")


if __name__ == "__main__":
    main()
