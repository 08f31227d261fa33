"""What tells benchmarks apart: hashes of their images' names, crops and truths, from whatever files they were read.

Two reports are comparable when names and truths are the same; the crop is part of the protocol.
"""

from delg.common.files import json_sha256
from evaluation.benchmarks.base import Benchmark

DECIMALS = 2  # of a crop's sides, in pixels, as files of different forms round them
CONTENTS = {  # names, crops and truths as released by the authors of the revisited benchmarks
    "roxford5k": "be311a6350c5f7db10949230809b2ce128a81c697a08afe20a92f742bfe9b6af",
    "rparis6k": "3e841f182596b1712aad618a3b21ae54bb9c05dc1d0617ce55050a618c0c493c",
}


def identify_benchmark(benchmark: Benchmark) -> str:
    """Changes when the name, the list lengths, the images' names, their order, the crops or the truths change."""
    return json_sha256([benchmark.name, list(benchmark.ks), _contents(benchmark)])


def answers_sha256(benchmark: Benchmark) -> str:
    """Changes when the images' names, their order or the truths change."""
    return _contents(benchmark, crops=False)


def _contents(benchmark: Benchmark, crops: bool = True) -> str:
    """The hash, with or without the crops."""
    images = [
        [image.name, [round(float(side), DECIMALS) for side in image.crop] if crops and image.crop else None]
        for image in (*benchmark.queries, *benchmark.database)
    ]
    truths = {
        protocol: [[sorted(truth.positives.tolist()), sorted(truth.junk.tolist())] for truth in truths]
        for protocol, truths in benchmark.protocols.items()
    }
    return json_sha256([len(benchmark.queries), images, truths])


def not_released(benchmark: Benchmark) -> str | None:
    """A sentence where a benchmark has the name of a released one and other images, crops or truths."""
    name = benchmark.name.partition("+")[0]
    expected, found = CONTENTS.get(name), _contents(benchmark)
    if expected is None or expected == found:
        return None
    return (
        f"The ground truth {benchmark.truth} is not the released one of {name} (SHA-256 of its contents "
        f"{found[:16]}..., expected {expected[:16]}...); the numbers are not those of that benchmark."
    )
