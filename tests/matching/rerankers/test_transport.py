"""Plans of optimal transport against the logarithmic iterations in float64."""

import numpy as np
import pytest
from scipy.special import logsumexp

from matching.rerankers.transport import plans
from tests.matching.helpers import unit


def logarithmic(similarities, row_bins, column_bins, corner):
    """The plan of one pair, padding included, as the paper's algorithm states it."""
    m, n = similarities.shape
    table = np.block([[similarities, row_bins[:, None]], [column_bins[None], np.full((1, 1), corner)]]) * 10
    total = -np.log(m + n)
    rows, columns = np.full(m + 1, total), np.full(n + 1, total)
    rows[-1], columns[-1] = total + np.log(n), total + np.log(m)
    u, v = np.zeros(m + 1), np.zeros(n + 1)
    for _ in range(10):
        u = rows - logsumexp(table + v, axis=1)
        v = columns - logsumexp(table + u[:, None], axis=0)
    return np.exp(table + u[:, None] + v - total)[:m, :n]


def cases(seed, m=9, sizes=(12, 7, 1)):
    rng = np.random.default_rng(seed)
    columns = max(sizes)
    similarities = unit(rng.normal(size=(m, 6))) @ unit(rng.normal(size=(len(sizes), columns, 6))).transpose(0, 2, 1)
    return similarities, np.array(sizes), rng.uniform(-1, 1, m), rng.uniform(-1, 1, (len(sizes), columns))


@pytest.mark.parametrize("corner", [0.3, 1.0, -40.0, 40.0])
def test_the_plans_of_a_block_are_those_of_its_pairs(corner):
    similarities, sizes, row_bins, column_bins = cases(0)
    found = plans(similarities.copy(), sizes, row_bins, column_bins, corner)
    for i, n in enumerate(sizes):
        expected = logarithmic(similarities[i, :, :n], row_bins, column_bins[i, :n], corner)
        np.testing.assert_allclose(found[i, :, :n], expected, atol=2e-6)
        assert not found[i, :, n:].any()
    assert (found.sum(axis=1) <= 1 + 1e-5).all()


def test_padding_is_counted_as_if_it_were_computed():
    similarities, sizes, row_bins, column_bins = cases(1)
    gain, rows = 0.2, 3
    padded = 14 - sizes
    found = plans(
        similarities.copy(),
        sizes,
        row_bins,
        column_bins,
        0.4,
        padded_rows=rows,
        padded_columns=padded,
        padding_bins=gain,
    )
    for i, n in enumerate(sizes):
        table = np.full((len(row_bins) + rows, 14), -np.inf)
        table[: len(row_bins), :n] = similarities[i, :, :n]
        bins = np.r_[row_bins, [gain] * rows], np.r_[column_bins[i, :n], [gain] * padded[i]]
        expected = logarithmic(table, *bins, 0.4)[: len(row_bins), :n]
        np.testing.assert_allclose(found[i, :, :n], expected, atol=2e-6)
    assert np.abs(found - plans(similarities, sizes, row_bins, column_bins, 0.4)).max() > 1e-3


def test_an_image_without_features_gets_nothing():
    similarities, _, row_bins, column_bins = cases(2)
    found = plans(similarities, np.array([4, 0, 2]), row_bins, column_bins, 0.5)
    assert np.isfinite(found).all() and not found[1].any() and found[0].any()
    assert plans(np.zeros((2, 3, 0), np.float32), np.array([0, 0]), 0.5, 0.5, 0.5).shape == (2, 3, 0)
