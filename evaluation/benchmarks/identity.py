"""Hashes of benchmarks: of image names, crops and right answers, whatever files they were read from.

Two reports are comparable when names and truths are equal; crops are part of the protocol.
"""

from typing import Any

from delg.common.files import json_sha256
from delg.common.sources import source_sha256
from evaluation.benchmarks.base import Benchmark

DECIMALS = 2  # of a crop's sides in pixels, which files of different forms round differently
CONTENTS = {  # names, crops and truths as released by the authors of the revisited benchmarks
    "roxford5k": "be311a6350c5f7db10949230809b2ce128a81c697a08afe20a92f742bfe9b6af",
    "rparis6k": "3e841f182596b1712aad618a3b21ae54bb9c05dc1d0617ce55050a618c0c493c",
}


def identify_benchmark(benchmark: Benchmark) -> str:
    """A hash that changes when image names, their order, crops, right answers or metrics change."""
    code = source_sha256(type(benchmark))
    return json_sha256([_images(benchmark), len(benchmark.queries), benchmark.identity(), code])


def answers_sha256(benchmark: Benchmark) -> str:
    """A hash that changes when image names, their order or right answers change."""
    return _contents(benchmark, crops=False)


def _contents(benchmark: Benchmark, crops: bool = True) -> str:
    """A hash of names and right answers, with or without crops."""
    return json_sha256([len(benchmark.queries), _images(benchmark, crops), benchmark.answers()])


def _images(benchmark: Benchmark, crops: bool = True) -> list[list[Any]]:
    """Name and crop of each image."""
    return [
        [image.name, [round(float(side), DECIMALS) for side in image.crop] if crops and image.crop else None]
        for images in (benchmark.queries, benchmark.database)
        for image in images
    ]


def not_released(benchmark: Benchmark) -> str | None:
    """A sentence where a benchmark has the name of a released benchmark, but other images, crops or truths."""
    name = benchmark.name.partition("+")[0]
    expected = CONTENTS.get(name)
    if expected is None or expected == (actual := _contents(benchmark)):
        return None
    return (
        f"The ground truth {benchmark.truth} is not the released one of {name} (SHA-256 of its contents "
        f"{actual[:16]}..., expected {expected[:16]}...); the numbers are not those of that benchmark."
    )
