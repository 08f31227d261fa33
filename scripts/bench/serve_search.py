"""Searches of a running service by uploaded photos of 512 pixels, one client and eight at once.

The collection has 10,000 photos (fewer with ``--rows``): drawn pictures, of which at most :data:`DRAWN` are described
by the model. The others are made up: the global descriptor of a described one with noise, and the local features of
another one, so that a query finds similar photos whose local features do not agree, as in a collection of real photos.
"""

import io
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collection.client import Client
from collection.collection import Collection
from collection.files import read
from collection.state import State
from extraction.store.encoding import encoding
from scripts.bench.measure import Options

PHOTOS, DRAWN, SIDE = 10_000, 200, 512
NOISE = 0.3  # of a made-up global descriptor, over its length
ASKED = 40  # questions of a measurement
WAYS = {"no verification": {"rerank": None}, "verification of 20": {"verify": 20}}


def drawn(seed: int) -> NDArray[np.uint8]:
    """A picture of rectangles over a coloured ground, with some grain."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE * 3 // 4, SIDE, 3), rng.integers(60, 200, 3), np.int16)
    for _ in range(150):
        y, x = rng.integers(0, image.shape[0]), rng.integers(0, SIDE)
        image[y : y + rng.integers(4, 90), x : x + rng.integers(4, 90)] = rng.integers(0, 256, 3)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def coded(image: NDArray[np.uint8], quality: int) -> bytes:
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def made(folder: Path, photos: int) -> Path:
    """The folder of a collection, which is made once."""
    if (folder / "made").exists():
        return folder
    described = min(DRAWN, photos)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [coded(drawn(seed), 90) for seed in range(described)]
    for row in range(photos):  # the number at the end makes files of other bytes
        (folder / f"{row:05d}.jpg").write_bytes(pictures[row % described] + (b"" if row < described else b"%d" % row))
    state = State(folder / ".delg")
    for row in range(described, photos):
        (folder / f"{row:05d}.jpg").rename(folder / f"{row:05d}.later")
    with Collection.open(folder) as collection:
        collection.sync(progress=True)
    with state.reading() as transaction:
        facts = transaction.facts()
        local = encoding(facts["local_dtype"])
        features = [transaction.features(row, "", local) for _, row in transaction.searchable()]
    rng = np.random.default_rng(0)
    for start in range(described, photos, 500):
        with state.writing() as transaction:
            records = []
            for row in range(start, min(start + 500, photos)):
                file = (folder / f"{row:05d}.later").rename(folder / f"{row:05d}.jpg")
                record = read(file, file.name)
                assert record is not None
                first, other = features[row % described], features[(7 * row + row // described) % described]
                noise = rng.normal(0, 1, len(first.global_descriptor))
                vector = first.global_descriptor + NOISE * noise / np.linalg.norm(noise)
                vector = (vector / np.linalg.norm(vector)).astype(np.float32)
                one = replace(other, global_descriptor=vector)
                records.append(record._replace(description=transaction.describe(record.sha256, one, local)))
            transaction.put(records)
    time.sleep(3)  # then a file that has not changed since is not read again
    with Collection.open(folder) as collection:
        collection.sync()
    (folder / "made").touch()
    return folder


def asked(client: Client, queries: list[bytes], clients: int, settings: dict) -> list[float]:
    """Seconds of each question, asked by so many clients at once."""

    def once(query: bytes) -> float:
        start = time.perf_counter()
        client.search(query, k=10, **settings)
        return time.perf_counter() - start

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(once, queries))


def processor_seconds(process: int) -> float:
    """Seconds that a process has computed, on all cores."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(options: Options) -> dict:
    """Measures a search with verification of one client, and the rest as notes."""
    photos = min(options.rows, PHOTOS)
    folder = made(options.folder / f"serve_{photos}", photos)
    queries = [coded(np.roll(drawn(seed % DRAWN), 9, axis=1), 80) for seed in range(ASKED + 1)]
    start = time.perf_counter()
    command = [sys.executable, "-m", "delg", "serve", str(folder), "--port=0", "--sync_every=0", "--seconds=600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            client = Client(process.stdout.readline().strip(), timeout=600)
            client._bytes("GET", "/")
            notes: dict = {"photos": photos, "s from start to page": round(time.perf_counter() - start, 2)}
            client.search(queries.pop(), k=10)
            notes["s from start to first search"] = round(time.perf_counter() - start, 2)
            medians = {}
            for way, settings in WAYS.items():
                for clients in (1, 8):
                    before = processor_seconds(process.pid)
                    seconds = asked(client, queries, clients, settings)
                    spent = 1000 * (processor_seconds(process.pid) - before) / len(queries)
                    middle, slow = (1000 * float(np.percentile(seconds, share)) for share in (50, 95))
                    medians[way, clients] = middle / 1000
                    notes[f"{way}, {clients} at once"] = (
                        f"p50 {middle:.0f} ms, p95 {slow:.0f} ms, {spent:.0f} ms of processors"
                    )
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            for name, field in (("resident memory", "VmRSS"), ("highest resident memory", "VmHWM")):
                found = re.search(rf"{field}:\s+(\d+)", status)
                notes[f"{name}, MB"] = round(int(found[1]) * 1024 / 1e6) if found else None
        finally:
            process.terminate()
    return {
        "ours": medians["verification of 20", 1],
        "reference": None,
        "bound": None,
        "unit": "search by an uploaded photo, 20 candidates verified, one client",
        "notes": notes,
    }
