"""How often intervals of 95 % hold the truth where queries are of few things, for several ways to make them.

python -m scripts.studies.coverage [--samples=4000]

Samples are drawn of which the truth is known: groups of queries, equal or unequal in size, whose values are average
precisions (bounded and skewed), hits of R@1, or changes between two methods (many are zero). A group has a mean of its
own. Each way is given the same samples; the last is that of the reports,
:func:`evaluation.statistics.bootstrap.interval`. Then the same for the global average precision,
:class:`evaluation.statistics.gap.Gap`. Minutes on one core.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from evaluation.statistics import bootstrap
from evaluation.statistics.bootstrap import LEAST, LEVEL, stretch
from evaluation.statistics.clusters import Groups
from evaluation.statistics.gap import Gap

NUMBERS = (2, 3, 5, 8, 12, 26, 100)  # of groups
DRAWS = 2_000
ROXFORD = (8, 8, 4, 1, 5, 8, 5, 8, 5, 5, 5, 8)  # queries of the landmarks of ROxford5k
Array = NDArray[np.float64]
Ends = tuple[Array, Array]
Random = np.random.Generator

SIZES: dict[str, Callable[[Random, tuple[int, int]], NDArray[np.int64]]] = {
    "5 each": lambda random, shape: np.full(shape, 5),
    "ROxford's": lambda random, shape: random.choice(ROXFORD, shape),
    "1 to 10": lambda random, shape: random.integers(1, 11, shape),
    "lognormal": lambda random, shape: np.maximum(1, np.round(5 * np.exp(random.normal(0, 1, shape)))).astype(np.int64),
}
BETAS = {"AP": (2.0, 1.0), "AP, easy": (5.0, 1.0), "AP, hard": (0.5, 1.5), "R@1": (2.0, 1.0)}  # of a group's mean
VALUES = (*BETAS, "changes")


def sample(random: Random, values: str, sizes: str, shape: tuple[int, int]) -> tuple[Array, Array, float]:
    """``(samples, groups)`` sums and numbers of the values of each group, and their true mean."""
    number = SIZES[sizes](random, shape)
    there = np.arange(number.max()) < number[..., None]
    if values == "changes":
        own, truth = random.laplace(0, 4, shape) * (random.random(shape) < 0.6), 1.0
        drawn = truth + own[..., None] + random.laplace(0, 5, there.shape) * (random.random(there.shape) < 0.5)
    else:
        a, b = BETAS[values]
        truth, own = a / (a + b), np.clip(random.beta(a, b, shape), 1e-6, 1 - 1e-6)[..., None]
        hit = values == "R@1"
        drawn = random.random(there.shape) < own if hit else random.beta(3 * own, 3 * (1 - own), there.shape)
    return np.where(there, drawn, 0).sum(axis=2), number.astype(np.float64), truth


def ways(sums: Array, sizes: Array) -> dict[str, Ends]:
    """The ends of each sample's interval, ``(samples,)`` both."""
    groups, level = sums.shape[1], (1 + LEVEL) / 2
    mean = sums.sum(axis=1) / sizes.sum(axis=1)
    times = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(np.float64)
    draws = (sums @ times.T) / (sizes @ times.T)
    t, more = stdtrit(groups - 1, level), np.sqrt(groups / (groups - 1))
    error = more * np.linalg.norm(sums - mean[:, None] * sizes, axis=1) / sizes.sum(axis=1)

    def quantiles(upper: float) -> Array:
        return np.quantile(draws, [1 - upper, upper], axis=1)

    low, high = quantiles(level)
    far = stretch(sizes)
    return {
        "percentiles": (low, high),
        "percentiles of a larger level": tuple(quantiles(float(ndtr(t * more)))),
        "t, robust error of groups": (mean - t * error, mean + t * error),
        "bootstrap-t": bootstrap_t(sums, sizes, times, draws),
        "percentiles, t / z, number of groups": tuple(
            mean + t / ndtri(level) * more * (end - mean) for end in (low, high)
        ),
        "percentiles, t / z, effective number": (mean + far * (low - mean), mean + far * (high - mean)),
    }


def bootstrap_t(sums: Array, sizes: Array, times: Array, draws: Array) -> Ends:
    """Ends by the quantiles of ``(draw - mean) / error of the draw``; a draw without an error is as far as can be."""
    mean, more = sums.sum(axis=1) / sizes.sum(axis=1), np.sqrt(sums.shape[1] / (sums.shape[1] - 1))
    found = np.empty((2, len(sums)))
    for i, (own, weights) in enumerate(zip(sums, sizes, strict=True)):
        off = own - draws[i][:, None] * weights
        errors = more * np.sqrt((times * off**2).sum(axis=1)) / (times @ weights)
        away = draws[i] - mean[i]
        ratios = np.where(errors > 1e-9, away / np.maximum(errors, 1e-9), 1e3 * np.sign(away))
        error = more * np.linalg.norm(own - mean[i] * weights) / weights.sum()
        found[:, i] = mean[i] - error * np.quantile(ratios, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
    return found[0], found[1]


def gap_of(random: Random, groups: int, sizes: str = "1 to 10") -> tuple[Array, Array, Groups]:
    """Gains, places and groups of answers whose group has a skill of its own; a right answer is surer by a little."""
    grouped = np.repeat(np.arange(groups), SIZES[sizes](random, (1, groups))[0])
    right = random.random(len(grouped)) < random.beta(2, 1, groups)[grouped]
    order = np.argsort(-random.random(len(grouped)) - 0.3 * right)
    places = np.empty(len(grouped))
    places[order] = np.arange(1, len(grouped) + 1)
    gains = np.zeros(len(grouped))
    gains[order] = 100 * right[order] * np.cumsum(right[order]) / np.arange(1, len(grouped) + 1)
    return gains, places, grouped


def held(ends: Ends, truth: float) -> float:
    """How often of 100 the truth lies within."""
    return 100 * float(np.mean((ends[0] <= truth) & (truth <= ends[1])))


def means(samples: int) -> list[str]:
    """A line of Markdown for each way, then one for each kind of samples, by the way of the reports."""
    found: dict[str, dict[int, list[float]]] = {}
    details = {}
    for values in VALUES:
        for sizes in SIZES:
            cells = []
            for groups in NUMBERS:
                count = samples if groups < 50 else samples // 4
                sums, numbers, truth = sample(np.random.default_rng(groups), values, sizes, (count, groups))
                shares = {way: held(ends, truth) for way, ends in ways(sums, numbers).items()}
                for way, share in shares.items():
                    found.setdefault(way, {}).setdefault(groups, []).append(share)
                cells.append(f"{shares['percentiles']:.0f} → {list(shares.values())[-1]:.0f}")
            details[f"{values}, {sizes}"] = cells
    head = f"| groups | {' | '.join(map(str, NUMBERS))} |\n|---{'|---:' * len(NUMBERS)}|"
    lines = [f"| {way} | {' | '.join(spread(of_way[n]) for n in NUMBERS)} |" for way, of_way in found.items()]
    return [head, *lines, "", head, *(f"| {kind} | {' | '.join(cells)} |" for kind, cells in details.items())]


def spread(shares: list[float]) -> str:
    """The mean of some shares, and from the least to the most."""
    return f"{np.mean(shares):.0f} ({min(shares):.0f}–{max(shares):.0f})"


def of_gap(samples: int) -> list[str]:
    """The global average precision by the way of the reports."""
    bootstrap.DRAWS = 1_000
    gains, *_ = gap_of(np.random.default_rng(0), 200_000)
    cells = []
    for groups in NUMBERS:
        random = np.random.default_rng(groups)
        found = [Gap(*gap_of(random, groups)).interval() for _ in range(samples // 4)]
        ends = np.array([(one.low, one.high) for one in found]).T
        cells.append("–" if groups < LEAST else f"{held((ends[0], ends[1]), float(gains.mean())):.0f}")
    return [f"| GAP, 1 to 10 | {' | '.join(cells)} |"]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4_000)
    options = parser.parse_args()
    if options.samples < 4:
        parser.error(f"--samples expects 4 or more. Received: {options.samples}")
    print("\n".join(means(options.samples) + of_gap(options.samples)))


if __name__ == "__main__":
    main()
