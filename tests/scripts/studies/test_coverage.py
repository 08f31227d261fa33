"""The script that measures intervals makes those of the reports."""

import numpy as np
import pytest

from evaluation.statistics import bootstrap
from evaluation.statistics.bootstrap import interval
from scripts.studies import coverage


def test_the_last_way_is_that_of_the_reports(monkeypatch):
    monkeypatch.setattr(bootstrap, "DRAWS", coverage.DRAWS)
    sums, sizes, truth = coverage.sample(np.random.default_rng(0), "AP", "1 to 10", (3, 8))
    low, high = list(coverage.ways(sums, sizes).values())[-1]
    for own, number, *ends in zip(sums, sizes.astype(int), low, high, strict=True):
        found = interval(np.repeat(own / number, number), np.repeat(np.arange(8), number))
        assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)
    assert truth == 2 / 3 and coverage.held((low, high), np.inf) == 0


def test_the_tables_have_a_line_for_each_way_and_kind(monkeypatch):
    monkeypatch.setattr(coverage, "NUMBERS", (2, 5))
    monkeypatch.setattr(bootstrap, "DRAWS", 100)
    lines = [*coverage.means(20), *coverage.of_gap(20)]
    assert len(lines) == 1 + 6 + 2 + 5 * 4 + 1 and lines[-1].startswith("| GAP, 1 to 10 | – | ")
