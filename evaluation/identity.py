"""What tells benchmarks apart: hashes of their images' names, crops and truths, from whatever files they were read."""

from evaluation.benchmarks.base import Benchmark
from protos.files import json_sha256

DECIMALS = 2  # of a crop's sides, in pixels, as files of different forms round them
RELEASED = {  # truths as released by the authors of the revisited benchmarks
    "roxford5k": "be311a6350c5f7db10949230809b2ce128a81c697a08afe20a92f742bfe9b6af",
    "rparis6k": "3e841f182596b1712aad618a3b21ae54bb9c05dc1d0617ce55050a618c0c493c",
}


def identify_benchmark(benchmark: Benchmark) -> str:
    """Changes when the name, the list lengths or what :func:`truths_sha256` is of change."""
    return json_sha256([benchmark.name, list(benchmark.ks), truths_sha256(benchmark)])


def truths_sha256(benchmark: Benchmark) -> str:
    """Changes when the images' names, their order, the crops or the truths change."""
    images = [
        [image.name, image.crop and [round(float(side), DECIMALS) for side in image.crop]]
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
    expected, found = RELEASED.get(name), truths_sha256(benchmark)
    if expected is None or expected == found:
        return None
    return (
        f"The ground truth {benchmark.truth} is not the released one of {name} (SHA-256 of its contents "
        f"{found[:16]}..., expected {expected[:16]}...); the numbers are not those of that benchmark."
    )
