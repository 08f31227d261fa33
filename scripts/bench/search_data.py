"""A large database by rule: 5,000 unit centres with 200 members each, a member being its centre plus noise.

The noise of a member is as long as its centre; the sum is then normalised. Queries are made likewise. Fewer rows have
fewer centres. Rows are in random order, written as float16.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from delg.common.files import atomic_path
from scripts.bench.measure import Options

DIMENSION, MEMBERS = 2048, 200
QUERIES = 100
TOP_K = 100
BLOCK = 8192
SEED = 0

Floats = NDArray[np.float32]


@dataclass
class Store:
    """What an index is built from, and a reranker reads: descriptors, names, settings."""

    global_descriptors: NDArray[np.floating[Any]]
    settings: dict[str, Any] = field(default_factory=lambda: {"extractor": "rule", "seed": SEED})
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = self.names or [str(i) for i in range(len(self.global_descriptors))]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.global_descriptors)

    def features(self, i: int) -> Any:
        """There are no local features."""
        raise NotImplementedError


def data(options: Options) -> tuple[Store, Floats]:
    """The database, written on first use, and the queries."""
    count, path = options.rows, options.folder / f"search_{options.rows}.npy"
    rng = np.random.default_rng(SEED)
    centres = unit(rng.standard_normal((-(-count // MEMBERS), DIMENSION), np.float32))
    queries = around(centres[rng.integers(0, len(centres), QUERIES)], rng)
    if not path.is_file():
        owners = rng.permutation(count) // MEMBERS
        header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": (count, DIMENSION)}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, count, BLOCK):
                file.write(around(centres[owners[start : start + BLOCK]], rng).astype(np.float16).data)
    return Store(np.load(path, mmap_mode="r")), queries


def unit(rows: Floats) -> Floats:
    """Rows of norm 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def around(centres: Floats, rng: np.random.Generator) -> Floats:
    """A member of each centre."""
    return unit(centres + unit(rng.standard_normal(centres.shape, np.float32)))


def literal(query: Floats, database: NDArray[np.floating]) -> NDArray[np.int64]:
    """The best rows of one query, by all similarities and a full sort."""
    scores = np.concatenate(
        [database[start : start + BLOCK].astype(np.float32) @ query for start in range(0, len(database), BLOCK)]
    )
    return np.argsort(-scores, kind="stable")[:TOP_K]


def recall(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean share of the true rows that were found."""
    return float(np.mean([len({*row} & {*true}) / len(true) for row, true in zip(found.tolist(), truth.tolist())]))


def resident(action: Callable[[], Any]) -> dict[str, float | None]:
    """Peak resident memory in MB of a fresh process that does something, in all and without mapped files."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_resident, action).result()


def _resident(action: Callable[[], Any]) -> dict[str, float | None]:
    action()
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {"peak": None, "not files": None}
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("VmHWM", "RssAnon"))}
    return {"peak": round(int(values["VmHWM"]) / 976.6), "not files": round(int(values["RssAnon"]) / 976.6)}


def in_words(memory: dict[str, float | None]) -> str:
    """``{"peak": 300, ...}`` without the braces."""
    return json.dumps(memory).strip("{}").replace('"', "")
