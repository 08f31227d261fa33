"""Every reranker on the same features: one query, 100 candidates, 200 or 600 local features an image.

The bound of a reranker of local features is its products of matrices, and of a network its exponentials, in float32,
on all cores, and nothing else; of a reranker of global descriptors the product of all candidates' descriptors with each
other. The scene is that of :mod:`scripts.bench.ransac_rerank`, at 30 % of true matches, with global descriptors of ten
images a place. ``ames`` and ``elvis`` have networks of the released sizes with random weights. Candidates of ``elvis``
were met before, so that their projections are remembered; a note says what new ones cost.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extraction.features import Features, Floats
from matching.ranking import Ranking
from matching.rerankers import ames_network, elvis_network
from matching.rerankers.base import Reranker
from matching.rerankers.table import build_reranker
from matching.rerankers.transport import ITERATIONS
from matching.source import MemorySource
from scripts.bench.measure import Options, added_memory, interleaved, on_all_cores
from scripts.bench.ransac_rerank import CANDIDATES, scene
from scripts.bench.superglobal_rerank import descriptors

GLOBAL, BACKBONE = 1280, 768  # values of a global descriptor, and of a local one of DINOv2
SHARE = 0.3
BOTH = (200, 600)
LAYERS, HEADS, WIDTH, HIDDEN = 5, 2, 128, 1024  # of the released AMES
MATRICES = 4  # of an attention: queries, keys, values, and the last linear map

Images = list[Features]


@dataclass(frozen=True)
class Work:
    """What a row measures.

    Attributes:
      text: the reranker; WEIGHTS stands for the file of its network, THREADS for a number.
      pair: does the arithmetic of the query and a candidate, None where candidates are not worked on one by one.
      features: numbers of local features that are measured.
      dimension: values of a local descriptor.
      shapes: of the weights of its network, by name.
      remembered: whether candidates were met before.
    """

    text: str
    pair: Callable[[Features, Features], object] | None = None
    features: tuple[int, ...] = (BOTH[0],)
    dimension: int = 128
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    remembered: bool = False


def similarities(query: Features, image: Features) -> Floats:
    """The product of all local descriptors of two images."""
    return query.descriptors @ image.descriptors.T


def transport(query: Features, image: Features) -> None:
    """The product of all local descriptors, an exponential of each entry, and ten iterations of two products."""
    kernel = similarities(query, image)
    np.exp(kernel, out=kernel)
    left, right = np.ones(len(query), np.float32), np.ones(len(image), np.float32)
    for _ in range(ITERATIONS):
        kernel @ right
        left @ kernel


def attention(seeing: int, seen: int) -> None:
    """Shares of one attention, all heads, and their exponentials."""
    size = WIDTH // HEADS
    for _ in range(HEADS):
        shares = np.zeros((seeing, size), np.float32) @ np.zeros((size, seen), np.float32)
        np.exp(shares, out=shares)
        shares @ np.zeros((seen, size), np.float32)


def transformer(query: Features, image: Features) -> None:
    """The products and exponentials of AMES, without those that a query shares and a score does not need."""
    m, n = min(len(query), 600), min(len(image), 50)
    tokens = np.zeros((m + 1 + n, WIDTH), np.float32)
    square, wide = np.zeros((WIDTH, WIDTH), np.float32), np.zeros((WIDTH, HIDDEN), np.float32)
    for layer in range(LAYERS):
        first, last = layer == 0, layer == LAYERS - 1
        for _ in range(MATRICES):
            tokens[m if first else 0 :] @ square
        attention(0 if first else m, m + 1)
        attention(1 + n, n + 1)
        for _ in range(2 if last else MATRICES):
            tokens @ square
        if not last:
            attention(m, n + 1)
            attention(n, m + 1)
            (tokens @ wide) @ wide.T


SIZES = {"mtc_token": (WIDTH,), "decoder.layers.0.linear1.weight": (HIDDEN, WIDTH)}
SIZES |= {"remap_local.0.weight": (WIDTH, BACKBONE), f"decoder.layers.{LAYERS - 1}.norm1.bias": (WIDTH,)}
OF_RANSAC = "ransac(mutual=True, threads=THREADS)"
WORKS = {
    "alpha_dba": Work("alpha_dba(top_k=100, threads=THREADS)"),
    "alpha_qe": Work("alpha_qe(top_k=100)"),
    "ames": Work("ames(weights=WEIGHTS, threads=THREADS)", transformer, BOTH, BACKBONE, ames_network.shapes(SIZES)),
    "auto": Work("auto(top_k=100, threads=THREADS)", similarities, BOTH),
    "chamfer_ot": Work("chamfer_ot(threads=THREADS)", transport, BOTH),
    "diffusion": Work("diffusion(top_k=100, threads=THREADS)"),
    "elvis": Work(
        "elvis(weights=WEIGHTS, threads=THREADS)",
        transport,
        BOTH,
        shapes=elvis_network.shapes_for(WIDTH, 128),
        remembered=True,
    ),
    "fused": Work(f"fused(reranker='{OF_RANSAC}', weight=0.1)", similarities, BOTH),
    "gated": Work(f"gated(reranker='{OF_RANSAC}', similarity=0.5)"),
    "k_reciprocal": Work("k_reciprocal(top_k=100, threads=THREADS)"),
    "ransac": Work(OF_RANSAC, similarities, BOTH),
    "superglobal": Work("superglobal(m=100, threads=THREADS)"),
}


def images(features: int, dimension: int) -> tuple[Images, Images]:
    """The query and the candidates, with local and global descriptors."""
    query, candidates, _ = scene(SHARE, seed=0, features=features, dimension=dimension)
    of_query, of_candidates = descriptors(1, CANDIDATES, GLOBAL)
    described = [replace(one, global_descriptor=row) for one, row in zip(candidates, of_candidates, strict=True)]
    return [replace(query, global_descriptor=of_query[0])], described


def weights(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """A checkpoint of random weights."""
    from tests.delg.importers.torch_writer import TorchFile, tensor

    rng = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> NDArray[np.float32]:
        return np.asarray(rng.normal(size=shape) / np.sqrt((1, *shape)[-1]), np.float32)

    state = {name: tensor(drawn(shape)) for name, shape in shapes.items()}
    return TorchFile({"state": state}).archive(folder / "random.pt")


def row(options: Options) -> dict:
    """Measures per query."""
    work = WORKS[options.kind]
    query, candidates = images(options.rows, work.dimension)
    sources = MemorySource(query), MemorySource(candidates)
    first = Ranking(np.arange(CANDIDATES)[None], np.linspace(0.9, 0.4, CANDIDATES, dtype=np.float32)[None])
    with tempfile.TemporaryDirectory() as folder:
        text = work.text
        if "WEIGHTS" in text:
            text = text.replace("WEIGHTS", repr(str(weights(Path(folder), work.shapes))))

        def built(threads: int) -> Reranker:
            return build_reranker(text.replace("THREADS", str(threads)))

        keep = cache(built) if work.remembered else built

        def ours(threads: int) -> Ranking:
            return keep(threads)(*sources, first)

        def bound(_: int) -> None:
            if work.pair is None:
                matrix = sources[1].global_descriptors
                matrix @ matrix.copy().T  # NumPy would see the symmetry of matrix @ matrix.T
            else:
                on_all_cores(partial(work.pair, query[0]), candidates, options.threads)

        memory = added_memory(lambda: ours(options.threads))
        counts = sorted({1, options.threads})
        actions: dict[str, Callable[[int], object]] = {str(n): lambda _, n=n: ours(n) for n in counts}
        if work.remembered:
            for n in counts:
                ours(n)
            actions["new"] = lambda _: built(options.threads)(*sources, first)
        seconds = interleaved(actions | {"bound": bound}, options.repeats)
    notes = {f"on {n} thread{'s' * (n > 1)}, ms": round(1000 * seconds[str(n)], 2) for n in counts}
    if work.remembered:
        notes["new candidates, ms"] = round(1000 * seconds["new"], 2)
    return {
        "unit": f"query of {CANDIDATES} candidates, {options.rows} features",
        "ours": seconds[str(options.threads)],
        "bound": seconds["bound"],
        "notes": notes | {"added memory, MB": None if memory is None else round(memory / 1e6, 1)},
    }
