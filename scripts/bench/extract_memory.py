"""Peak memory of extraction: 100 and 2,000 images, of one size and of many, and with one of up to 20,000 x 15,000."""

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

import delg
from extraction.images import ImageRef
from scripts.bench.measure import Options
from scripts.bench.search_data import resident

FEW, MANY = 100, 2000
SIDE = 320
LARGE = (15_000, 10_000), (20_000, 15_000)
RUNTIMES = ("tensorflow", "openvino")


def photos(place: Path, lowest: int) -> list[ImageRef]:
    """JPEG files of ``SIDE`` pixels along the longer side and ``lowest`` to 320 along the other; made once."""
    place.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    refs = [ImageRef(f"{i:04d}", str(place / f"{i:04d}.jpg")) for i in range(MANY)]
    for ref in refs:
        cells, other = rng.integers(0, 256, (24, 32, 3), np.uint8), int(rng.integers(lowest, SIDE + 1))
        if not Path(ref.path).exists():
            cv2.imwrite(ref.path, cv2.resize(cells, (SIDE, other) if other % 2 else (other, SIDE)))
    return refs


def large(place: Path, size: tuple[int, int]) -> ImageRef:
    """A JPEG file of hundreds of millions of pixels; made once."""
    path = place / f"large_{size[0]}.jpg"
    if not path.exists():
        cells = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
        Image.fromarray(cells).resize(size, Image.Resampling.NEAREST).save(path)
    return ImageRef("large", str(path))


def run(model: str, runtime: str, refs: list[ImageRef], store: str) -> None:
    """One whole extraction."""
    from extraction.extractors.delg import DelgExtractor
    from extraction.pipeline import extract

    shutil.rmtree(store, ignore_errors=True)
    extract(DelgExtractor.from_folder(model, max_image_size=1024, runtime=runtime), refs, store, progress=False)


def row(options: Options) -> dict[str, Any]:
    """Measures seconds per image of the many, by the first of the runtimes; the notes hold the memory in MB."""
    model, store = options.folder / "memory_model", str(options.folder / "memory_store")
    delg.save(delg.create("delg_small"), model)
    refs = photos(options.folder / "memory_photos", SIDE // 2)
    alike = photos(options.folder / "memory_photos_of_one_size", SIDE)
    notes: dict[str, Any] = {}
    seconds = 0.0
    for runtime in RUNTIMES:
        for name, chosen in (
            *((f"{n} images of one size", alike[:n]) for n in (FEW, MANY)),
            *((f"{n} images of many sizes", refs[:n]) for n in (FEW, MANY)),
            *((f"{FEW} images and one of {w} x {h}", [*refs[:FEW], large(options.folder, (w, h))]) for w, h in LARGE),
        ):
            start = time.perf_counter()
            notes[f"peak MB on {runtime}, {name}"] = resident(partial(run, str(model), runtime, chosen, store))["peak"]
            if name == f"{MANY} images of many sizes" and runtime == RUNTIMES[0]:
                seconds = (time.perf_counter() - start) / MANY
    limits = ", ".join(str(9 * width * height // (2 * 10**6)) for width, height in LARGE)
    notes["limit, MB above"] = f"4.5 bytes a pixel of the largest file: {limits}"
    return {"name": "extract_memory", "ours": seconds, "unit": f"image of {SIDE} pixels, small preset", "notes": notes}
