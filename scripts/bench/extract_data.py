"""What the rows of extraction share: model, images, work, the peak of a product, and one way to measure a precision."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as op

import delg
from extraction.describing import describe
from extraction.extractors.delg import DelgExtractor
from extraction.features import Features
from extraction.images import ImageRef
from extraction.pipeline import extract
from extraction.runtimes.openvino_runtime import HINTS, OUTPUTS
from extraction.verification import twins
from scripts.bench.extract_reference import CHOSEN, FEATURES, SCALES, Described, Reference
from scripts.bench.measure import Options, check, interleaved, processor_time

SIZE = 1024, 768
IMAGES = 6  # of one round, so that beginning and end weigh as little as in a job of many
SIDE, CHAIN = 1024, 8  # of the products that give the peak


def photo(seed: int) -> np.ndarray:
    """``(768, 1024, 3)`` uint8 with structure at every size: noise of seven octaves."""
    rng = np.random.default_rng(seed)
    total = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for octave in range(7):
        cells = rng.normal(size=(3 * 2**octave, 4 * 2**octave, 3)).astype(np.float32)
        total += cv2.resize(cells, SIZE, interpolation=cv2.INTER_LINEAR) * 0.7**octave
    return np.clip(128 + 60 * total, 0, 255).astype(np.uint8)


def photos(options: Options, count: int = IMAGES, first: int = 0) -> list[ImageRef]:
    """Files of such photos."""
    place = options.folder / "extraction_photos"
    place.mkdir(exist_ok=True)
    refs = [ImageRef(str(i), str(place / f"{i}.jpg")) for i in range(first, first + count)]
    for ref in refs:
        if not Path(ref.path).exists():
            cv2.imwrite(ref.path, photo(int(ref.name)))
    return refs


def model_folder(options: Options) -> str:
    """A ResNet-50 with both heads, its weights fresh from seed 0."""
    place = options.folder / "extraction_model"
    if not (place / "config.json").exists():
        delg.save(delg.create("delg_r50"), place)
    return str(place)


def extractor(folder: str, runtime: str, precision: str) -> DelgExtractor:
    """The extractor in question, with the released scales and keypoints."""
    return DelgExtractor.from_folder(
        folder,
        image_scales=SCALES,
        global_scales_ind=CHOSEN,
        max_feature_num=FEATURES,
        keypoints="released",
        runtime=runtime,
        precision=precision,
    )


def gflop(one: DelgExtractor, image: np.ndarray) -> float:
    """Multiplications and additions of an image's convolutions and products, in billions, by the graph in float32."""
    from delg.exporting.openvino import openvino_model

    graph = openvino_model(one.model, one.model.head_names)
    total = 0
    _, _, passes = one.plan(image)
    for run in passes:
        names = [name for head in run.heads for name in OUTPUTS[head]]
        part = ov.Model([graph.output(name) for name in names], graph.get_parameters(), "part").clone()
        part.reshape([1, run.size[1], run.size[0], 3])
        for node in part.get_ordered_ops():
            if node.get_type_name() == "Convolution":
                total += 2 * np.prod(node.output(0).shape) * np.prod(node.input(1).get_source_output().shape[1:])
            elif node.get_type_name() == "MatMul":
                total += 2 * np.prod(node.output(0).shape) * node.input(1).get_source_output().shape[-1]
    return float(total) / 1e9


def product(precision: str, at_once: int = 1) -> Callable[[int], Any]:
    """A chain of square products on OpenVINO in this precision; see :data:`SIDE` and :data:`CHAIN`.

    Args:
      precision: of the products.
      at_once: chains that are computed at the same time and share the cores.
    """
    rng = np.random.default_rng(0)
    node = given = op.parameter([SIDE, SIDE], np.float32)
    for _ in range(CHAIN):
        weight = op.constant(rng.uniform(-0.05, 0.05, (SIDE, SIDE)).astype(np.float32))
        if precision == "int8":
            node, weight = quantised(node, 3.0, 256), quantised(weight, 0.05, 255)
        node = op.matmul(node, weight, False, False)
    graph = ov.Model([op.reduce_max(node, op.constant([0, 1]))], [given])
    options = {"INFERENCE_PRECISION_HINT": HINTS[precision], "NUM_STREAMS": at_once}
    compiled = ov.Core().compile_model(graph, "CPU", options)
    requests = [compiled.create_infer_request() for _ in range(at_once)]
    for request in requests:
        request.set_input_tensor(ov.Tensor(rng.normal(size=(SIDE, SIDE)).astype(np.float32)))

    def run(_: int) -> None:
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return run


def networks(one: DelgExtractor, image: np.ndarray, at_once: int) -> Callable[[int], Any]:
    """All runs of the network on an image, by so many threads at the same time, each for itself."""
    one.share_cores(at_once)
    runs = [(one.network(run.heads), x) for run, x in zip(one.plan(image)[2], one.network_inputs(image))]
    one.share_cores(1)
    pool = ThreadPoolExecutor(at_once)
    return lambda _: list(pool.map(lambda _: [network(x) for network, x in runs], range(at_once)))


def quantised(node: Any, limit: float, levels: int) -> Any:
    """Rounds to so many levels between ``-limit`` and ``limit``."""
    low, high = op.constant(np.float32(-limit)), op.constant(np.float32(limit))
    return op.fake_quantize(node, low, high, low, high, levels)


@dataclass(frozen=True)
class Agreement:
    """How far ours is from the reference.

    Attributes:
      vector: largest difference of a component of the global descriptors.
      global_cosine: of the global descriptors.
      twins: share of the reference's local features that have one at the same place and scale.
      local: largest difference of a component of their descriptors.
      local_cosine: 1st percentile of their cosines.
    """

    vector: float
    global_cosine: float
    twins: float
    local: float
    local_cosine: float


def agreement(found: Features, expected: Described) -> Agreement:
    """Compares one image."""
    theirs = Features(
        "reference", SIZE, expected.vector, expected.keypoints, expected.descriptors, expected.scores, expected.scales
    )
    ours, others = twins(found, theirs).T
    left, right = found.descriptors[ours], theirs.descriptors[others]
    return Agreement(
        float(np.abs(found.global_descriptor - expected.vector).max()),
        float(found.global_descriptor @ expected.vector),
        len(ours) / len(theirs),
        float(np.abs(left - right).max()),
        float(np.percentile((left * right).sum(1), 1)),
    )


def measured(
    options: Options, name: str, precision: str, limits: Callable[[Agreement], bool], runtime: str = "openvino"
) -> dict[str, Any]:
    """Checks one precision against the reference, and measures both and the product's peak in turns.

    Ours is the whole job: from files to a finished store. The reference reads and describes a file, and writes nothing.

    Args:
      options: see there.
      name: of the row.
      precision: of ours.
      limits: whether the features agree well enough to be timed.
      runtime: of ours.
    """
    folder, refs = model_folder(options), photos(options)
    one, reference = extractor(folder, runtime, precision), Reference(delg.load(folder))
    found = agreement(describe(one, refs[0]), reference(refs[0]))
    check(limits(found), f"{found}")
    image = photo(0)
    place = options.folder / "extraction_store"

    def ours(_: int) -> None:
        shutil.rmtree(place, ignore_errors=True)
        extract(one, refs, place, progress=False, num_threads=options.threads)

    threads, chain = options.threads, CHAIN * 2e-9 * SIDE**3
    computing: dict[str, list[float]] = {"network": [], "products": []}
    seconds = interleaved(
        {
            "ours": ours,
            "reference": lambda turn: reference(refs[turn % IMAGES]),
            "network": processor_time(networks(one, image, threads), computing["network"]),
            "one by one": networks(one, image, 1),
            "product": product(precision),
            "products": processor_time(product(precision, threads), computing["products"]),
        },
        options.repeats,
    )
    work, peak = gflop(one, image), max(chain / seconds["product"], threads * chain / seconds["products"])
    network, products = (median(computing[name]) for name in ("network", "products"))
    notes = {
        "images/s": round(IMAGES / seconds["ours"], 3),
        "GFLOP per image": round(work, 1),
        "GFLOP/s in the network alone": round(threads * work / seconds["network"]),
        "GFLOP/s of one image by all cores": round(work / seconds["one by one"]),
        "GFLOP/s of a product, the bound": round(peak),
        "share of the product by processor time": round(work / chain * products / network, 3),
        "global cosine": round(found.global_cosine, 6),
        "local features at the same place": round(found.twins, 4),
        "1st percentile of their cosines": round(found.local_cosine, 6),
        "largest difference of a global, of a local descriptor": f"{found.vector:.1e}, {found.local:.1e}",
    }
    times = {"ours": seconds["ours"] / IMAGES, "reference": seconds["reference"], "bound": work / peak}
    return {"name": name, "unit": "image of 1024 x 768", **times, "notes": notes}
