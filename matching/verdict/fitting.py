"""The statistics of a calibration: logistic regression, a bound of a rate, and the threshold that keeps a rate."""

import numpy as np
from numpy.typing import NDArray

from delg.common.errors import InputError

RIDGE = 1e-3  # of squared weights, of terms of unit deviation
LEVEL = 0.95  # of bounds
TAIL = 0.1  # share of the largest values that the exponential tail is fitted to
LEAST_TAIL = 5  # values
Values = NDArray[np.float64]


def logistic(terms: Values, same: NDArray[np.bool_], weights: Values) -> tuple[Values, float]:
    """Weights of terms, none below 0, and a bias, whose sum is the logarithm of the odds.

    More evidence never lowers a probability, as no weight is below 0.

    Args:
      terms: ``(N, T)``, larger where more speaks for the same thing.
      same: ``(N,)`` what is true.
      weights: ``(N,)`` of the examples.

    Returns:
      ``(T,)`` weights and the bias.

    Raises:
      InputError: the examples are all the same, or none is.
    """
    from scipy.optimize import minimize

    if same.all() or not same.any():
        raise InputError("A calibration expects examples of the same thing and of different things.")
    deviation = terms.std(0)
    used = deviation > 1e-9
    scaled = np.where(used, terms / np.where(used, deviation, 1), 0)
    sign, share = np.where(same, 1.0, -1.0), weights / weights.sum()

    def loss(parameters: Values) -> tuple[float, Values]:
        margins = sign * (scaled @ parameters[:-1] + parameters[-1])
        slope = -share * sign / (1 + np.exp(np.minimum(margins, 500)))
        value = float(share @ np.logaddexp(0, -margins)) + RIDGE * float(parameters[:-1] @ parameters[:-1])
        return value, np.append(slope @ scaled + 2 * RIDGE * parameters[:-1], slope.sum())

    bounds = [(0.0, None if one else 0.0) for one in used] + [(None, None)]
    result = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.where(used, result.x[:-1] / np.where(used, deviation, 1), 0), float(result.x[-1])


def clopper_pearson(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a rate that was seen ``count`` times of ``of`` (Clopper and Pearson, Biometrika 1934)."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high


def upper_bound(count: int, of: int, level: float = LEVEL) -> float:
    """Bound that a rate exceeds with probability ``1 - level`` at most, see :func:`clopper_pearson`."""
    return clopper_pearson(count, of, 2 * level - 1)[1]


def threshold(values: Values, rate: float) -> float:
    """The threshold that values of the same kind reach at most so often, with a probability of 95 %.

    Of the values so few may reach the threshold that the bound of their share is at most the rate. Where even none is
    too many, because the values are few, the threshold lies above all of them, as far as an exponential tail says.

    Args:
      values: ``(n,)`` seen.
      rate: above 0, below 1.
    """
    ordered = np.sort(values)[::-1]
    n, count = len(ordered), -1
    while count + 1 < n and upper_bound(count + 1, n) <= rate:
        count += 1
    if count >= 0:
        return float(np.nextafter(ordered[count], np.inf))
    tail = ordered[: max(LEAST_TAIL, round(TAIL * n))]
    slope = max(float(np.mean(tail - tail[-1])), 1e-3)
    return float(ordered[0]) + slope * float(np.log(upper_bound(0, n) / rate))
