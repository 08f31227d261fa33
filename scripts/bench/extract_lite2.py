"""EfficientNet-Lite2 at its recipe, as ``--model=auto`` has it, on OpenVINO and on TensorFlow.

Both do the whole job: from files to a finished store. The bound is the arithmetic of the network at the peak of a
matrix product that is measured in the same run.
"""

import shutil
from typing import Any

from extraction.describing import describe
from extraction.extractors.table import build_extractor
from extraction.pipeline import extract
from scripts.bench.extract_data import CHAIN, IMAGES, SIDE, gflop, photo, photos, product
from scripts.bench.measure import Options, check, interleaved


def row(options: Options) -> dict[str, Any]:
    """Measures per image; the descriptors must agree to a cosine of 0.99999."""
    refs, threads = photos(options), options.threads
    runtimes = {"ours": "openvino", "reference": "tensorflow"}
    extractors: dict[str, Any] = {
        name: build_extractor(f'efficientnet_lite2(runtime="{runtime}")') for name, runtime in runtimes.items()
    }
    first, second = (describe(one, refs[0]).global_descriptor for one in extractors.values())
    check(float(first @ second) > 0.99999, f"cosine {first @ second}")

    def job(name: str) -> None:
        place = options.folder / f"lite2_{name}"
        shutil.rmtree(place, ignore_errors=True)
        extract(extractors[name], refs, place, progress=False, num_threads=threads, batch_size=8)

    seconds = interleaved(
        {
            "ours": lambda _: job("ours"),
            "reference": lambda _: job("reference"),
            "products": product("float32", threads),
        },
        options.repeats,
    )
    work, peak = gflop(extractors["ours"], photo(0)), threads * CHAIN * 2e-9 * SIDE**3 / seconds["products"]
    times = {name: seconds[name] / IMAGES for name in runtimes}
    notes = {
        "images/s": round(1 / times["ours"], 2),
        "GFLOP per image": round(work, 2),
        "GFLOP/s of a product, the bound": round(peak),
    }
    return {"name": "extract_lite2", "unit": "image of 1024 x 768", **times, "bound": work / peak, "notes": notes}
